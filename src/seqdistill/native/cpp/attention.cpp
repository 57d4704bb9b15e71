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
  memset(out, 0, sizeof(float) * size_t(dim));
  for (int head = 0; head < heads && count; ++head) {
    int at = head * width;
    for (int t = 0; t < count; ++t)
      scores[t] = dot(query + at, memory.key + row_of(t) * size_t(memory.key_stride) + at, width) * factor;
    float total = exponentials(scores, count);
    for (int t = 0; t < count; ++t) {
      f16 weight = broadcast(scores[t]);
      combine(out + at, memory.value + row_of(t) * size_t(memory.value_stride) + at, size_t(width),
              [weight](f16 sum, f16 value) { return sum + weight * value; });
    }
    scale(out + at, 1.0f / total, size_t(width));
  }
}

inline float* room_for_scores(int longest, Arena& arena) { return arena.array<float>(size_t(longest + 15)); }

}  // namespace

void attend(const float* query, int query_stride, Ragged queries, const Memory& memory, Ragged keys,
            const int32_t* sentences, int heads, int dim, float* out, int out_stride, Arena& arena) {
  Arena::Mark before = arena.mark();
  for (int list = 0; list < queries.count; ++list) {
    int sentence = sentences ? sentences[list] : list, first = keys.first(sentence), count = keys.length(sentence);
    float* scores = room_for_scores(count, arena);
    for (int row = queries.first(list); row < queries.starts[list + 1]; ++row)
      attend_one(query + size_t(row) * size_t(query_stride), memory, count, [first](int t) { return size_t(first + t); },
                 heads, dim, scores, out + size_t(row) * size_t(out_stride));
    arena.release(before);
  }
}

void attend_rows(const float* query, int query_stride, int rows, const Memory& cache, const int32_t* table,
                 int table_stride, const int32_t* lengths, int heads, int dim, float* out, int out_stride,
                 Arena& arena) {
  Arena::Mark before = arena.mark();
  for (int row = 0; row < rows; ++row) {
    const int32_t* seen = table + size_t(row) * size_t(table_stride);
    float* scores = room_for_scores(lengths[row], arena);
    attend_one(query + size_t(row) * size_t(query_stride), cache, lengths[row],
               [seen](int t) { return size_t(seen[t]); }, heads, dim, scores, out + size_t(row) * size_t(out_stride));
    arena.release(before);
  }
}

}  // namespace sd
