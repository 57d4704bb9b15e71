// int8 products of a few rows with one block of 64 outputs, for each instruction set: the same integers on all of them.
//
// A block of weights is [quads][64][4]: of each four inputs (a quad) 64 cells of 4 bytes, one for each output. All sets
// multiply a cell with the row's quad and add the four products to the output's 32-bit sum:
//
//   row       x0 x1 x2 x3 | x4 ...              sum[o] += x0 w[o][0] + x1 w[o][1] + x2 w[o][2] + x3 w[o][3]
//   weights   w[0][0..3] w[1][0..3] .. w[63][0..3] | the next quad
#pragma once
#include "linear.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace sd {

// Where the set multiplies unsigned with signed bytes, rows are stored as x + 128 and sums start from `correction`.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr bool UNSIGNED_ROWS = true;
#else
constexpr bool UNSIGNED_ROWS = false;
#endif

// What a tile reads: a block's weights and corrections, and rows of quantised numbers `stride` bytes apart.
struct Int8Operands {
  const int8_t* weight;
  const int32_t* correction;
  int quads;
  const int8_t* x;
  int stride;

  int32_t quad(int row, int number) const {
    int32_t four;
    memcpy(&four, x + long(row) * stride + 4L * number, sizeof four);
    return four;
  }
};

#if defined(__AVX512VNNI__)

// In assembler, as g++ 12 copies every sum around the intrinsic, which halves the speed.
inline __m512i multiply_add(__m512i sum, __m512i x, const int8_t* weight) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "m"(*reinterpret_cast<const __m512i*>(weight)));
  return sum;
}
inline __m512i multiply_add(__m512i sum, __m512i x, __m512i weight) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(weight));
  return sum;
}

// Rows of a tile: 24 sums of 16 outputs, 4 registers of weights and 1 of a row are 29 of 32.
constexpr int INT8_ROWS = 6;

// sums[row][j] are those of outputs 16 j .. 16 j + 15 of the block.
template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  __m512i total[ROWS][4];
  for (int row = 0; row < ROWS; ++row)
    for (int j = 0; j < 4; ++j) total[row][j] = _mm512_loadu_si512(from.correction + 16 * j);
  const int8_t* weight = from.weight;
  for (int quad = 0; quad < from.quads; ++quad, weight += 256) {
    __m512i w[4];
    for (int j = 0; j < 4; ++j) w[j] = _mm512_loadu_si512(weight + 64 * j);
    for (int row = 0; row < ROWS; ++row) {
      __m512i x = _mm512_set1_epi32(from.quad(row, quad));
      for (int j = 0; j < 4; ++j) total[row][j] = multiply_add(total[row][j], x, w[j]);
    }
  }
  memcpy(&sums, &total, sizeof total);
}

// One row: two sums for each 16 outputs, so that eight instructions are under way at once.
template <>
inline void int8_sums<1>(const Int8Operands& from, i16 (&sums)[1][4]) {
  __m512i even[4], odd[4];
  for (int j = 0; j < 4; ++j) even[j] = _mm512_loadu_si512(from.correction + 16 * j), odd[j] = _mm512_setzero_si512();
  const int8_t* weight = from.weight;
  int quad = 0;
  for (; quad + 2 <= from.quads; quad += 2, weight += 512) {
    __m512i x = _mm512_set1_epi32(from.quad(0, quad)), next = _mm512_set1_epi32(from.quad(0, quad + 1));
    for (int j = 0; j < 4; ++j) even[j] = multiply_add(even[j], x, weight + 64 * j);
    for (int j = 0; j < 4; ++j) odd[j] = multiply_add(odd[j], next, weight + 256 + 64 * j);
  }
  if (quad < from.quads) {
    __m512i x = _mm512_set1_epi32(from.quad(0, quad));
    for (int j = 0; j < 4; ++j) even[j] = multiply_add(even[j], x, weight + 64 * j);
  }
  for (int j = 0; j < 4; ++j) sums[0][j].part[0] = reinterpret_cast<IntPart>(_mm512_add_epi32(even[j], odd[j]));
}

#elif defined(__AVX2__)

#if defined(__AVXVNNI__)
#if !defined(SD_VEX)
#define SD_VEX "%{vex%} "  // tests on processors that have the instruction only in its other encoding leave it out
#endif
struct Quad {
  __m256i x;
  explicit Quad(int32_t four) : x(_mm256_set1_epi32(four)) {}
  __m256i multiply_add(__m256i sum, __m256i weight) const {
    __asm__(SD_VEX "vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(weight));
    return sum;
  }
};
constexpr int INT8_ROWS = 3, INT8_COLUMNS = 4;
#else
// |x| times (w with the sign of x): vpmaddubsw adds two products to 16 bits, at most 2 * 127 * 127 = 32,258, so that none
// saturates, as x + 128 would at 2 * 255 * 127. vpsignb needs w > -128, and makes w zero where x is.
struct Quad {
  __m256i x, size;
  explicit Quad(int32_t four) : x(_mm256_set1_epi32(four)), size(_mm256_abs_epi8(x)) {}
  __m256i multiply_add(__m256i sum, __m256i weight) const {
    __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(weight, x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};
constexpr int INT8_ROWS = 4, INT8_COLUMNS = 2;
#endif

// A tile of several rows takes `columns` registers of 8 outputs at a time: 16 registers hold no more.
template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  constexpr int COLUMNS = ROWS == 1 ? 8 : INT8_COLUMNS;
  for (int first = 0; first < 8; first += COLUMNS) {
    __m256i total[ROWS][COLUMNS];
    for (int row = 0; row < ROWS; ++row)
      for (int j = 0; j < COLUMNS; ++j)
        total[row][j] = UNSIGNED_ROWS ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from.correction + 8 * (first + j)))
                                      : _mm256_setzero_si256();
    const int8_t* weight = from.weight + 32 * first;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256)
      for (int row = 0; row < ROWS; ++row) {
        Quad x(from.quad(row, quad));
        for (int j = 0; j < COLUMNS; ++j)
          total[row][j] =
              x.multiply_add(total[row][j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 32 * j)));
      }
    for (int row = 0; row < ROWS; ++row)
      memcpy(reinterpret_cast<int32_t*>(sums[row]) + 8 * first, total[row], sizeof total[row]);
  }
}

#elif defined(__ARM_FEATURE_DOTPROD)

constexpr int INT8_ROWS = 4;

template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  for (int first = 0; first < 4; ++first) {  // 16 outputs at a time: 4 sums of a row
    int32x4_t total[ROWS][4];
    for (int row = 0; row < ROWS; ++row)
      for (int j = 0; j < 4; ++j) total[row][j] = vdupq_n_s32(0);
    const int8_t* weight = from.weight + 64 * first;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256)
      for (int row = 0; row < ROWS; ++row) {
        int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(from.quad(row, quad)));
        for (int j = 0; j < 4; ++j) total[row][j] = vdotq_s32(total[row][j], vld1q_s8(weight + 16 * j), x);
      }
    for (int row = 0; row < ROWS; ++row) memcpy(&sums[row][first], total[row], sizeof total[row]);
  }
}

#else

constexpr int INT8_ROWS = 1;

template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  for (int row = 0; row < ROWS; ++row) {
    int32_t total[BLOCK] = {};
    const int8_t* weight = from.weight;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256) {
      const int8_t* x = from.x + long(row) * from.stride + 4L * quad;
      for (int o = 0; o < BLOCK; ++o)
        for (int k = 0; k < 4; ++k) total[o] += x[k] * weight[4 * o + k];
    }
    memcpy(&sums[row], total, sizeof total);
  }
}

#endif

}  // namespace sd
