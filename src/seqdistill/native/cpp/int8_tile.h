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

#if SD_LANES == 8
inline __m256i load_bytes(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

// Sums of 8 outputs each, from register `first` of the block's eight on.
template <int ROWS, int COLUMNS>
inline void store_sums(const __m256i (&total)[ROWS][COLUMNS], i16 (&sums)[ROWS][4], int first) {
  for (int row = 0; row < ROWS; ++row)
    for (int j = 0; j < COLUMNS; j += 2)
      sums[row][(first + j) / 2] = {
          {reinterpret_cast<IntPart>(total[row][j]), reinterpret_cast<IntPart>(total[row][j + 1])}};
}
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
  for (int row = 0; row < ROWS; ++row)
    for (int j = 0; j < 4; ++j) sums[row][j] = {{reinterpret_cast<IntPart>(total[row][j])}};
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
  for (int j = 0; j < 4; ++j) sums[0][j] = {{reinterpret_cast<IntPart>(_mm512_add_epi32(even[j], odd[j]))}};
}

#elif defined(__AVXVNNI__)

#if !defined(SD_VEX)
#define SD_VEX "%{vex%} "  // tests on processors that have the instruction only in its other encoding leave it out
#endif
inline __m256i multiply_add(__m256i sum, __m256i x, __m256i weight) {
  __asm__(SD_VEX "vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(weight));
  return sum;
}

constexpr int INT8_ROWS = 3;

// 16 registers: one row with all 64 outputs at a time (8 sums), or up to three rows with 32 (12 sums).
template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  constexpr int COLUMNS = ROWS == 1 ? 8 : 4;  // of 8 outputs
  for (int first = 0; first < 8; first += COLUMNS) {
    __m256i total[ROWS][COLUMNS];
    for (int row = 0; row < ROWS; ++row)
      for (int j = 0; j < COLUMNS; ++j) total[row][j] = load_bytes(from.correction + 8 * (first + j));
    const int8_t* weight = from.weight + 32 * first;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256) {
      __m256i x[ROWS];
      for (int row = 0; row < ROWS; ++row) x[row] = _mm256_set1_epi32(from.quad(row, quad));
      for (int j = 0; j < COLUMNS; ++j) {
        __m256i w = load_bytes(weight + 32 * j);
        for (int row = 0; row < ROWS; ++row) total[row][j] = multiply_add(total[row][j], x[row], w);
      }
    }
    store_sums(total, sums, first);
  }
}

#elif defined(__AVX2__)

// |x| times (w with the sign of x): vpmaddubsw adds two products in 16 bits, at most 2 * 127 * 127 = 32,258, so that
// none saturates, as (x + 128) w would at 2 * 255 * 127. vpsignb needs w > -128, and makes w zero where x is.
struct Quad {
  __m256i x, size;
  explicit Quad(int32_t four) : x(_mm256_set1_epi32(four)), size(_mm256_abs_epi8(x)) {}
  __m256i multiply_add(__m256i sum, __m256i weight) const {
    __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(weight, x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

constexpr int INT8_ROWS = 2;

// Four instructions for 32 products: the multipliers are the limit, and more rows together would gain nothing.
template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  constexpr int COLUMNS = ROWS == 1 ? 8 : 4;  // of 8 outputs
  for (int first = 0; first < 8; first += COLUMNS) {
    __m256i total[ROWS][COLUMNS];
    for (int row = 0; row < ROWS; ++row)
      for (int j = 0; j < COLUMNS; ++j) total[row][j] = _mm256_setzero_si256();
    const int8_t* weight = from.weight + 32 * first;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256)
      for (int row = 0; row < ROWS; ++row) {
        Quad x(from.quad(row, quad));
        for (int j = 0; j < COLUMNS; ++j) total[row][j] = x.multiply_add(total[row][j], load_bytes(weight + 32 * j));
      }
    store_sums(total, sums, first);
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
    for (int row = 0; row < ROWS; ++row)
      sums[row][first] = {{total[row][0], total[row][1], total[row][2], total[row][3]}};
  }
}

#elif defined(__SSE2__)

constexpr int INT8_ROWS = 1;

// The two halves of 16 weights, widened to 16 bits (the sign comes down from the upper byte), times (x0 x1 x2 x3 x0 x1
// x2 x3): pmaddwd leaves two half sums for each output, which are added at the end.
template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  for (int first = 0; first < 4; ++first) {  // 16 outputs at a time
    __m128i halves[8];                       // of two outputs each
    for (int j = 0; j < 8; ++j) halves[j] = _mm_setzero_si128();
    const int8_t* weight = from.weight + 64 * first;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256) {
      __m128i x = _mm_set1_epi32(from.quad(0, quad));
      x = _mm_srai_epi16(_mm_unpacklo_epi8(x, x), 8);
      for (int j = 0; j < 4; ++j) {
        __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weight + 16 * j));
        __m128i low = _mm_srai_epi16(_mm_unpacklo_epi8(w, w), 8), high = _mm_srai_epi16(_mm_unpackhi_epi8(w, w), 8);
        halves[2 * j] = _mm_add_epi32(halves[2 * j], _mm_madd_epi16(low, x));
        halves[2 * j + 1] = _mm_add_epi32(halves[2 * j + 1], _mm_madd_epi16(high, x));
      }
    }
    for (int j = 0; j < 4; ++j) {
      FloatPart a = reinterpret_cast<FloatPart>(halves[2 * j]), b = reinterpret_cast<FloatPart>(halves[2 * j + 1]);
      IntPart even = as_int(_mm_shuffle_ps(a, b, 0x88)), odd = as_int(_mm_shuffle_ps(a, b, 0xdd));
      sums[0][first].part[j] = even + odd;
    }
  }
}

#elif defined(__aarch64__)

constexpr int INT8_ROWS = 1;

// Without dot product: products of 8 weights in 16 bits, added in pairs to two half sums for each output.
template <int ROWS>
inline void int8_sums(const Int8Operands& from, i16 (&sums)[ROWS][4]) {
  for (int first = 0; first < 4; ++first) {
    int32x4_t halves[8];
    for (int j = 0; j < 8; ++j) halves[j] = vdupq_n_s32(0);
    const int8_t* weight = from.weight + 64 * first;
    for (int quad = 0; quad < from.quads; ++quad, weight += 256) {
      int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(from.quad(0, quad)));
      for (int j = 0; j < 8; ++j) halves[j] = vpadalq_s16(halves[j], vmull_s8(vld1_s8(weight + 8 * j), x));
    }
    for (int j = 0; j < 4; ++j) sums[0][first].part[j] = vpaddq_s32(halves[2 * j], halves[2 * j + 1]);
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
    for (int j = 0; j < 4; ++j) sums[row][j] = load(total + 16 * j);
  }
}

#endif

}  // namespace sd
