// float32 and bfloat16 products of a few rows with one block of 64 outputs, [inputs][64].
//
// Every output is one sum over the inputs in their order, multiplied and added without fusing: the same bits on every
// instruction set and in every batch. Several outputs and rows at once keep the adders busy.
#pragma once
#include "linear.h"

namespace sd {

inline f16 load_weights(const float* weight) { return load(weight); }

// bfloat16 is the upper half of a float32. Given as instructions, which g++ 12 does not find by itself.
inline f16 load_weights(const uint16_t* weight) {
#if SD_LANES == 16
  // The masks, of all lanes, keep g++ 12 from warning of its own header.
  __m512i wide = _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight)));
  return {{reinterpret_cast<FloatPart>(_mm512_maskz_slli_epi32(0xffff, wide, 16))}};
#elif SD_LANES == 8
  return each_part([=](int i) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weight + 8 * i)));
    return reinterpret_cast<FloatPart>(_mm256_slli_epi32(wide, 16));
  });
#else
  typedef uint16_t Four __attribute__((vector_size(8), aligned(2), may_alias));
  return each_part([=](int i) {
    return as_float(__builtin_convertvector(*reinterpret_cast<const Four*>(weight + 4 * i), IntPart) << 16);
  });
#endif
}

// Registers: rows * columns * PARTS sums beside the weights, of 32 with AVX-512 and NEON, 16 with AVX and SSE.
#if defined(__AVX512F__)
constexpr int FLOAT_ROWS = 6, FLOAT_COLUMNS = 4;
#elif defined(__AVX__) || defined(__aarch64__)
constexpr int FLOAT_ROWS = 6, FLOAT_COLUMNS = 1;
#else
constexpr int FLOAT_ROWS = 2, FLOAT_COLUMNS = 1;
#endif

// sums[row][j] are those of outputs 16 j .. 16 j + 15; rows of x lie `stride` floats apart.
template <int ROWS, class Weight>
inline void float_sums(const Weight* block, int inputs, const float* x, int stride, f16 (&sums)[ROWS][4]) {
  constexpr int COLUMNS = ROWS == 1 ? (PARTS == 4 ? 2 : 4) : FLOAT_COLUMNS;
  for (int first = 0; first < 4; first += COLUMNS) {
    f16 total[ROWS][COLUMNS];
    for (int row = 0; row < ROWS; ++row)
      for (int j = 0; j < COLUMNS; ++j) total[row][j] = zeros();
    const Weight* weight = block + 16 * first;
    for (int i = 0; i < inputs; ++i, weight += BLOCK) {
      f16 w[COLUMNS];
      for (int j = 0; j < COLUMNS; ++j) w[j] = load_weights(weight + 16 * j);
      for (int row = 0; row < ROWS; ++row) {
        f16 value = broadcast(x[long(row) * stride + i]);
        for (int j = 0; j < COLUMNS; ++j) total[row][j] += value * w[j];
      }
    }
    for (int row = 0; row < ROWS; ++row)
      for (int j = 0; j < COLUMNS; ++j) sums[row][first + j] = total[row][j];
  }
}

}  // namespace sd
