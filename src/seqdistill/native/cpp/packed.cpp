// What else is done with packed matrices and their rows: quantising, embedding, shortlists.
#include "elementwise.h"
#include "int8_tile.h"
#include "linear.h"

namespace sd {
namespace {

constexpr float LARGEST = 127.0f;
constexpr float SMALLEST = 1e-30f;  // a row whose numbers are all below is zero: 127 / them would overflow

typedef int8_t BytePart __attribute__((vector_size(LANES)));

// The lowest byte of each number. As instructions where g++ 12 would take the numbers one by one.
inline BytePart low_bytes(IntPart x) {
#if SD_LANES == 16
  return reinterpret_cast<BytePart>(_mm512_maskz_cvtepi32_epi8(0xffff, reinterpret_cast<__m512i>(x)));
#elif defined(__AVX2__)
  const __m256i every_fourth = _mm256_set1_epi32(0x0c080400);
  __m256i four = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(x), every_fourth);
  __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
  return reinterpret_cast<BytePart>(_mm_cvtsi128_si64(both));
#else
  return __builtin_convertvector(x, BytePart);
#endif
}

// 16 numbers times `by`, which is 127 / the greatest of them, rounded to whole numbers as the set wants them.
//
// x + 1.5 * 2^23 has the nearest whole number in its lowest bits, below those of the constant: its last byte is the
// result, or the result + 128 where that is added too.
inline void store_bytes(int8_t* values, f16 x, f16 by) {
  i16 whole = bits(x * by + broadcast(UNSIGNED_ROWS ? ROUND + 128 : ROUND));
  for (int i = 0; i < PARTS; ++i) {
    BytePart bytes = low_bytes(whole.part[i]);
    memcpy(values + i * LANES, &bytes, sizeof bytes);
  }
}

// Returns the row's scale. `values` has room for a multiple of 16 numbers; those past the last are zero.
float quantize_row(const float* x, int inputs, int8_t* values) {
  f16 sizes = zeros();
  int whole = inputs / 16 * 16, rest = inputs - whole;
  for (int i = 0; i < whole; i += 16) sizes = max(absolute(load(x + i)), sizes);
  if (rest) sizes = max(absolute(load(x + whole, rest)), sizes);
  float size = maximum(sizes);
  f16 by = broadcast(size > SMALLEST ? LARGEST / size : 0.0f);
  for (int i = 0; i < whole; i += 16) store_bytes(values + i, load(x + i), by);
  if (rest) store_bytes(values + whole, load(x + whole, rest), by);
  return size > SMALLEST ? size / LARGEST : 0.0f;
}

inline float from_bfloat16(uint16_t x) {
  uint32_t bits = uint32_t(x) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// A row of a packed matrix is `cells` cells of `Cell` that lie 64 cells apart: int32_t (four int8), uint16_t or float.
template <class Cell>
struct PackedRow {
  const Cell* first;
  const Cell& cell(int i) const { return first[size_t(i) * BLOCK]; }
};
inline int cells_of(const Linear& matrix) { return matrix.precision == INT8 ? (matrix.inputs + 3) / 4 : matrix.inputs; }

template <class Cell>
PackedRow<Cell> packed_row(const Linear& matrix, int row) {
  return {static_cast<const Cell*>(matrix.weight) + size_t(row / BLOCK) * size_t(cells_of(matrix)) * BLOCK +
          size_t(row % BLOCK)};
}

void embed_int8(const Linear& matrix, int id, float scale, float* y) {
  PackedRow<int32_t> row = packed_row<int32_t>(matrix, id);
  float by = matrix.scale[id] * scale;
  for (int i = 0; i < matrix.inputs; i += 4) {
    int8_t four[4];
    memcpy(four, &row.cell(i / 4), 4);
    for (int k = 0; k < 4 && i + k < matrix.inputs; ++k) y[i + k] = float(four[k]) * by;
  }
}

template <class Cell>
Cell* copied_rows(const Linear& matrix, const int32_t* ids, int count, Arena& arena) {
  int cells = cells_of(matrix), blocks = blocks_of(count);
  Cell* weight = arena.array<Cell>(size_t(blocks) * size_t(cells) * BLOCK);
  Cell* to = weight;
  // Cell by cell of a block's rows, which is the order of the copy: writing with jumps takes a fifth longer.
  for (int first = 0; first < count; first += BLOCK) {
    const Cell* rows[BLOCK];
    int number = count - first < BLOCK ? count - first : BLOCK;
    for (int o = 0; o < number; ++o) rows[o] = packed_row<Cell>(matrix, ids[first + o]).first;
    for (int i = 0; i < cells; ++i, to += BLOCK) {
      for (int o = 0; o < number; ++o) to[o] = rows[o][size_t(i) * BLOCK];
      if (number < BLOCK) memset(to + number, 0, sizeof(Cell) * size_t(BLOCK - number));
    }
  }
  return weight;
}

template <class T>
T* chosen(const T* values, const int32_t* ids, int count, Arena& arena) {
  if (!values) return nullptr;
  T* copy = arena.zeros<T>(size_t(blocks_of(count)) * BLOCK);
  for (int o = 0; o < count; ++o) copy[o] = values[ids[o]];
  return copy;
}

}  // namespace

Quantized quantize(int precision, const float* x, int rows, int inputs, int x_stride, Arena& arena) {
  if (precision != INT8) return {rows, inputs, nullptr, 0, nullptr, x, x_stride};
  int stride = (inputs + BLOCK - 1) / BLOCK * BLOCK;
  int8_t* values = arena.array<int8_t>(size_t(rows) * size_t(stride));
  float* scales = arena.array<float>(size_t(rows));
  for (int row = 0; row < rows; ++row)
    scales[row] = quantize_row(x + size_t(row) * size_t(x_stride), inputs, values + size_t(row) * size_t(stride));
  return {rows, inputs, values, stride, scales, nullptr, 0};
}

void embed(const Linear& matrix, const int32_t* ids, int rows, float scale, float* y, int y_stride) {
  for (int row = 0; row < rows; ++row, y += y_stride) {
    if (matrix.precision == INT8) {
      embed_int8(matrix, ids[row], scale, y);
    } else if (matrix.precision == BFLOAT16) {
      PackedRow<uint16_t> from = packed_row<uint16_t>(matrix, ids[row]);
      for (int i = 0; i < matrix.inputs; ++i) y[i] = from_bfloat16(from.cell(i)) * scale;
    } else {
      PackedRow<float> from = packed_row<float>(matrix, ids[row]);
      for (int i = 0; i < matrix.inputs; ++i) y[i] = from.cell(i) * scale;
    }
  }
}

Linear shortlisted(const Linear& matrix, const int32_t* ids, int count, Arena& arena) {
  const void* weight = matrix.precision == INT8 ? copied_rows<int32_t>(matrix, ids, count, arena)
                       : matrix.precision == BFLOAT16
                           ? static_cast<void*>(copied_rows<uint16_t>(matrix, ids, count, arena))
                           : copied_rows<float>(matrix, ids, count, arena);
  return {matrix.precision,
          count,
          matrix.inputs,
          weight,
          chosen(matrix.scale, ids, count, arena),
          chosen(matrix.correction, ids, count, arena),
          chosen(matrix.bias, ids, count, arena)};
}

}  // namespace sd
