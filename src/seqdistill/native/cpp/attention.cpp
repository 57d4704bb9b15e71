#include "attention.h"

#include "elementwise.h"

namespace sd {
namespace {

inline float dot(const float* a, const float* b, int count) {
  f16 total = zeros();
  int i = 0;
  for (; i + 16 <= count; i += 16) total += load(a + i) * load(b + i);
  if (i < count) total += load(a + i, count - i) * load(b + i, count - i);
  return sum(total);
}

// weights[t] = exp(scores[t] - greatest); returns their sum. Lanes up to the next multiple of 16 are written.
float exponentials(float* scores, int count) {
  f16 tops = broadcast(-__builtin_inff()), total = zeros();
  for (int t = count; t % 16; ++t) scores[t] = -__builtin_inff();  // exp of it is 0
  for (int t = 0; t < count; t += 16) tops = max(load(scores + t), tops);
  f16 top = broadcast(maximum(tops));
  for (int t = 0; t < count; t += 16) {
    f16 weights = exp(load(scores + t) - top);
    store(scores + t, weights);
    total += weights;
  }
  return sum(total);
}

// One query over `count` rows of the memory, row t being the one that `row_of(t)` names.
template <class RowOf>
void attend_one(const float* query, const Memory& memory, int count, RowOf row_of, int heads, int dim, float* scores,
                float* out) {
  int width = dim / heads;
  float factor = 1.0f / __builtin_sqrtf(float(width));
  if (!count) memset(out, 0, sizeof(float) * size_t(dim));
  for (int head = 0; head < heads && count; ++head) {
    int at = head * width;
    for (int t = 0; t < count; ++t)
      scores[t] = dot(query + at, memory.key + row_of(t) * size_t(memory.key_stride) + at, width) * factor;
    f16 share = broadcast(1.0f / exponentials(scores, count));
    for (int end = at + width; at < end; at += 16) {
      int numbers = end - at < 16 ? end - at : 16;
      f16 sum = zeros();
      for (int t = 0; t < count; ++t) {
        const float* value = memory.value + row_of(t) * size_t(memory.value_stride) + at;
        sum += broadcast(scores[t]) * (numbers == 16 ? load(value) : load(value, numbers));
      }
      if (numbers == 16)
        store(out + at, sum * share);
      else
        store(out + at, sum * share, numbers);
    }
  }
}

// Sixteen queries of one head turned around, number c of query q at [c][q], so that sums, maxima and exponentials of
// all of them are single operations; scores, and later weights, of row t of the memory lie at [t][q].
constexpr int TILE = 16;

// scores[t] = numbers of key t times those of all queries, summed from the first on; KEYS keys at a time.
template <int KEYS>
inline void score(const float* queries, const float* key, int stride, int width, f16 factor, float* scores) {
  f16 total[KEYS];
  for (int k = 0; k < KEYS; ++k) total[k] = zeros();
  for (int c = 0; c < width; ++c) {
    f16 numbers = load(queries + TILE * c);
    for (int k = 0; k < KEYS; ++k) total[k] += broadcast(key[long(k) * stride + c]) * numbers;
  }
  for (int k = 0; k < KEYS; ++k) store(scores + TILE * k, total[k] * factor);
}

// out[q] = sum over t of weights[t][q] value[t], over `count` values; up to 16 numbers of QUERIES queries.
template <int QUERIES>
inline void mix(const float* weights, int count, const float* value, int stride, int numbers, float* out,
                int out_stride) {
  f16 total[QUERIES];
  for (int q = 0; q < QUERIES; ++q) total[q] = zeros();
  for (int t = 0; t < count; ++t, value += stride, weights += TILE) {
    f16 row = numbers == 16 ? load(value) : load(value, numbers);
    for (int q = 0; q < QUERIES; ++q) total[q] += broadcast(weights[q]) * row;
  }
  for (int q = 0; q < QUERIES; ++q)
    if (numbers == 16)
      store(out + long(q) * out_stride, total[q]);
    else
      store(out + long(q) * out_stride, total[q], numbers);
}

// scores[t][q] become the weights exp(scores - greatest) / sum.
void softmax(float* scores, int count) {
  f16 top = broadcast(-__builtin_inff()), total = zeros();
  for (int t = 0; t < count; ++t) top = max(load(scores + TILE * t), top);
  for (int t = 0; t < count; ++t) {
    f16 weight = exp(load(scores + TILE * t) - top);
    store(scores + TILE * t, weight);
    total += weight;
  }
  f16 inverse = broadcast(1.0f) / total;
  for (int t = 0; t < count; ++t) store(scores + TILE * t, load(scores + TILE * t) * inverse);
}

// One head of up to 16 queries over `count` rows of the memory.
void attend_tile(const float* query, int query_stride, int queries, const float* key, int key_stride,
                 const float* value, int value_stride, int count, int width, float* turned, float* scores, float* out,
                 int out_stride) {
  memset(turned, 0, sizeof(float) * size_t(TILE) * size_t(width));
  for (int q = 0; q < queries; ++q)
    for (int c = 0; c < width; ++c) turned[TILE * c + q] = query[long(q) * query_stride + c];
  const f16 factor = broadcast(1.0f / __builtin_sqrtf(float(width)));
  int t = 0;
  for (; t + 4 <= count; t += 4)
    score<4>(turned, key + long(t) * key_stride, key_stride, width, factor, scores + TILE * t);
  for (; t < count; ++t) score<1>(turned, key + long(t) * key_stride, key_stride, width, factor, scores + TILE * t);
  softmax(scores, count);
  for (int c = 0; c < width; c += 16) {
    const int numbers = width - c < 16 ? width - c : 16;
    int q = 0;
    for (; q + 4 <= queries; q += 4)
      mix<4>(scores + q, count, value + c, value_stride, numbers, out + long(q) * out_stride + c, out_stride);
    for (; q < queries; ++q)
      mix<1>(scores + q, count, value + c, value_stride, numbers, out + long(q) * out_stride + c, out_stride);
  }
}

}  // namespace

void attend(const float* query, int query_stride, Ragged queries, const Memory& memory, Ragged keys,
            const int32_t* sentences, int heads, int dim, float* out, int out_stride, Arena& arena) {
  Arena::Mark before = arena.mark();
  const int width = dim / heads;
  float* turned = arena.array<float>(size_t(TILE) * size_t(width));
  for (int list = 0; list < queries.count; ++list) {
    const int sentence = sentences ? sentences[list] : list, count = keys.length(sentence);
    const size_t first = size_t(keys.first(sentence));
    Arena::Mark unused = arena.mark();
    float* scores = arena.array<float>(size_t(TILE) * size_t(count) + TILE);
    for (int row = queries.first(list), end = queries.starts[list + 1]; row < end; row += TILE) {
      const int number = end - row < TILE ? end - row : TILE;
      const float* from = query + size_t(row) * size_t(query_stride);
      float* to = out + size_t(row) * size_t(out_stride);
      if (number == 1)
        attend_one(from, memory, count, [first](int t) { return first + size_t(t); }, heads, dim, scores, to);
      else
        for (int at = 0; at < dim; at += width)
          attend_tile(from + at, query_stride, number, memory.key + first * size_t(memory.key_stride) + at,
                      memory.key_stride, memory.value + first * size_t(memory.value_stride) + at, memory.value_stride,
                      count, width, turned, scores, to + at, out_stride);
    }
    arena.release(unused);
  }
  arena.release(before);
}

void attend_rows(const float* query, int query_stride, int rows, const Memory& cache, const int32_t* table,
                 int table_stride, const int32_t* lengths, int heads, int dim, float* out, int out_stride,
                 Arena& arena) {
  Arena::Mark before = arena.mark();
  for (int row = 0; row < rows; ++row) {
    const int32_t* seen = table + size_t(row) * size_t(table_stride);
    float* scores = arena.array<float>(size_t(lengths[row]) + 15);  // whole registers
    attend_one(
        query + size_t(row) * size_t(query_stride), cache, lengths[row], [seen](int t) { return size_t(seen[t]); },
        heads, dim, scores, out + size_t(row) * size_t(out_stride));
    arena.release(before);
  }
}

}  // namespace sd
