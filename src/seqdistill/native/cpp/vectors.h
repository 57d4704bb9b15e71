// Sixteen floats at a time, with the same bits on every instruction set.
//
// An f16 is one AVX-512 register, two of AVX or four of SSE and NEON. All arithmetic is lane by lane, without fused
// multiply-add (-ffp-contract=off), and sums fold lanes in one fixed order, so no result depends on the set.
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sd {

#if defined(__AVX512F__)
#define SD_LANES 16
#elif defined(__AVX__)
#define SD_LANES 8
#else
#define SD_LANES 4
#endif
constexpr int LANES = SD_LANES, PARTS = 16 / SD_LANES;

typedef float FloatPart __attribute__((vector_size(4 * SD_LANES)));
typedef int32_t IntPart __attribute__((vector_size(4 * SD_LANES)));

struct f16 {
  FloatPart part[PARTS];
};
struct i16 {
  IntPart part[PARTS];
};

// A Result whose part i is `of(i)`. Written out, not a loop: g++ keeps parts in registers only where it sees their
// numbers.
#if SD_LANES == 16
#define SD_EACH_PART(Result, of) \
  Result {                       \
    {                            \
      of(0)                      \
    }                            \
  }
#elif SD_LANES == 8
#define SD_EACH_PART(Result, of) \
  Result {                       \
    {                            \
      of(0), of(1)               \
    }                            \
  }
#else
#define SD_EACH_PART(Result, of) \
  Result {                       \
    {                            \
      of(0), of(1), of(2), of(3) \
    }                            \
  }
#endif
template <class Of>
inline f16 each_part(Of of) {
  return SD_EACH_PART(f16, of);
}
template <class Of>
inline i16 each_int_part(Of of) {
  return SD_EACH_PART(i16, of);
}
#undef SD_EACH_PART

inline FloatPart as_float(IntPart x) { return reinterpret_cast<FloatPart>(x); }
inline IntPart as_int(FloatPart x) { return reinterpret_cast<IntPart>(x); }

inline f16 operator+(f16 a, f16 b) {
  return each_part([=](int i) { return a.part[i] + b.part[i]; });
}
inline f16 operator-(f16 a, f16 b) {
  return each_part([=](int i) { return a.part[i] - b.part[i]; });
}
inline f16 operator*(f16 a, f16 b) {
  return each_part([=](int i) { return a.part[i] * b.part[i]; });
}
inline f16 operator/(f16 a, f16 b) {
  return each_part([=](int i) { return a.part[i] / b.part[i]; });
}
inline f16& operator+=(f16& a, f16 b) { return a = a + b; }

// a where a > b, otherwise b; b where either is not a number. That is what the instruction of x86 does, which g++ 12
// does not find.
inline FloatPart max(FloatPart a, FloatPart b) {
#if SD_LANES == 16
  return _mm512_maskz_max_ps(0xffff, a, b);
#elif SD_LANES == 8
  return _mm256_max_ps(a, b);
#elif defined(__SSE__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
inline FloatPart min(FloatPart a, FloatPart b) {
#if SD_LANES == 16
  return _mm512_maskz_min_ps(0xffff, a, b);
#elif SD_LANES == 8
  return _mm256_min_ps(a, b);
#elif defined(__SSE__)
  return _mm_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}
inline f16 max(f16 a, f16 b) {
  return each_part([=](int i) { return max(a.part[i], b.part[i]); });
}
inline f16 min(f16 a, f16 b) {
  return each_part([=](int i) { return min(a.part[i], b.part[i]); });
}

// `yes` where a < b, otherwise `no`.
inline f16 where_less(f16 a, f16 b, f16 yes, f16 no) {
  return each_part([=](int i) { return a.part[i] < b.part[i] ? yes.part[i] : no.part[i]; });
}

inline f16 broadcast(float x) {
  return each_part([=](int) { return x - FloatPart{}; });
}  // x - 0 is x, also where x is -0
inline f16 zeros() { return broadcast(0.0f); }
inline i16 bits(f16 x) {
  return each_int_part([=](int i) { return as_int(x.part[i]); });
}
inline f16 from_bits(i16 x) {
  return each_part([=](int i) { return as_float(x.part[i]); });
}
inline f16 absolute(f16 x) {
  return each_part([=](int i) { return as_float(as_int(x.part[i]) & 0x7fffffff); });
}
inline f16 to_floats(i16 x) {
  return each_part([=](int i) { return __builtin_convertvector(x.part[i], FloatPart); });
}

// Part by part, of any address: g++ would copy a whole f16 through memory.
typedef float LoosePart __attribute__((vector_size(4 * SD_LANES), aligned(4), may_alias));
typedef int32_t LooseIntPart __attribute__((vector_size(4 * SD_LANES), aligned(4), may_alias));

inline f16 load(const float* x) {
  return each_part([=](int i) { return FloatPart(*reinterpret_cast<const LoosePart*>(x + i * LANES)); });
}
inline void store(float* x, f16 v) {
  for (int i = 0; i < PARTS; ++i) *reinterpret_cast<LoosePart*>(x + i * LANES) = v.part[i];
}
inline i16 load(const int32_t* x) {
  return each_int_part([=](int i) { return IntPart(*reinterpret_cast<const LooseIntPart*>(x + i * LANES)); });
}
inline void store(int32_t* x, i16 v) {
  for (int i = 0; i < PARTS; ++i) *reinterpret_cast<LooseIntPart*>(x + i * LANES) = v.part[i];
}

// The first `count` (0 to 16) numbers, zeros in the other lanes; nothing else is read or written.
inline f16 load(const float* x, int count) {
#if defined(__AVX512F__)
  return {{_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), x)}};
#else
  float lanes[16] = {};
  for (int i = 0; i < count; ++i) lanes[i] = x[i];
  return load(lanes);
#endif
}
inline void store(float* x, f16 v, int count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(x, static_cast<__mmask16>((1u << count) - 1), v.part[0]);
#else
  float lanes[16];
  store(lanes, v);
  for (int i = 0; i < count; ++i) x[i] = lanes[i];
#endif
}

// Folds lanes with `join`: i with i + 8, then i + 4, i + 2, i + 1.
template <class Join>
inline float folded(f16 v, Join join) {
#if defined(__x86_64__)
#if SD_LANES == 4
  __m128 four = join(join(v.part[0], v.part[2]), join(v.part[1], v.part[3]));
#else
#if SD_LANES == 16
  // The masks, of all lanes, keep g++ 12 from warning of its own header.
  __m256 low = _mm512_maskz_extractf32x8_ps(0xff, v.part[0], 0),
         high = _mm512_maskz_extractf32x8_ps(0xff, v.part[0], 1);
  __m256 eight = join(low, high);
#else
  __m256 eight = join(v.part[0], v.part[1]);
#endif
  __m128 four = join(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
#endif
  four = join(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(join(four, _mm_shuffle_ps(four, four, 1)));
#else
  float x[16];
  store(x, v);
  for (int width = 8; width; width /= 2)
    for (int i = 0; i < width; ++i) x[i] = join(x[i], x[i + width]);
  return x[0];
#endif
}
inline float sum(f16 v) {
  return folded(v, [](auto a, auto b) { return a + b; });
}
inline float maximum(f16 v) {
  return folded(v, [](auto a, auto b) { return a > b ? a : b; });
}

// Whether any lane is above x.
inline bool any_above(f16 v, float x) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(v.part[0], _mm512_set1_ps(x), _CMP_GT_OQ);
#elif defined(__AVX__)
  __m256 top = _mm256_set1_ps(x);
  return _mm256_movemask_ps(_mm256_or_ps(v.part[0] > top, v.part[1] > top));
#else
  f16 tops = where_less(broadcast(x), v, broadcast(1.0f), zeros());
  return sum(tops) > 0.0f;
#endif
}

// The nearest whole number, ties to the even one, of |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
constexpr float ROUND = 12582912.0f;
inline f16 nearest(f16 x) { return (x + broadcast(ROUND)) - broadcast(ROUND); }

// The same as integers: the sum's lowest bits.
inline i16 nearest_integer(f16 x) {
  i16 sum = bits(x + broadcast(ROUND));
  return each_int_part([=](int i) { return sum.part[i] - 0x4b400000; });
}

// 2^n of whole numbers n from -126 to 127, by writing the exponent.
inline f16 power_of_two(f16 n) {
  i16 exponent = nearest_integer(n);
  return each_part([=](int i) { return as_float((exponent.part[i] + 127) << 23); });
}

// e^x to 2 ulp; 0 below -87.3 (where it would be denormal), the same as e^88 above 88. The polynomial is Cephes' expf.
inline f16 exp(f16 given) {
  f16 x = min(max(given, broadcast(-87.3f)), broadcast(88.0f));
  f16 n = nearest(x * broadcast(1.44269504088896341f));
  // x - n ln 2, with ln 2 in two numbers: n times the first is exact.
  f16 r = (x - n * broadcast(0.693359375f)) - n * broadcast(-2.12194440e-4f);
  f16 p = broadcast(1.9875691500e-4f);
  p = p * r + broadcast(1.3981999507e-3f);
  p = p * r + broadcast(8.3334519073e-3f);
  p = p * r + broadcast(4.1665795894e-2f);
  p = p * r + broadcast(1.6666665459e-1f);
  p = p * r + broadcast(5.0000001201e-1f);
  f16 value = (p * (r * r) + r) + broadcast(1.0f);
  return where_less(given, broadcast(-87.3f), zeros(), value * power_of_two(n));
}

inline f16 sigmoid(f16 x) { return broadcast(1.0f) / (broadcast(1.0f) + exp(zeros() - x)); }

// tanh to 2 ulp: Cephes' polynomial near 0, where 1 - 2 / (e^2x + 1) would lose digits.
inline f16 tanh(f16 x) {
  f16 z = x * x;
  f16 p = broadcast(-5.70498872745e-3f);
  p = p * z + broadcast(2.06390887954e-2f);
  p = p * z + broadcast(-5.37397155531e-2f);
  p = p * z + broadcast(1.33314422036e-1f);
  p = p * z + broadcast(-3.33332819422e-1f);
  f16 near = (p * z) * x + x;
  f16 size = min(absolute(x), broadcast(10.0f));
  f16 far = broadcast(1.0f) - broadcast(2.0f) / (exp(size + size) + broadcast(1.0f));
  far = where_less(x, zeros(), zeros() - far, far);
  return where_less(absolute(x), broadcast(0.625f), near, far);
}

// Natural logarithm of positive, normal numbers, to 2 ulp (Cephes' logf).
inline f16 log(f16 x) {
  // x = 2^exponent * mantissa, mantissa in [1/sqrt(2), sqrt(2)): bits above those of 1/sqrt(2) carry into the exponent.
  i16 raw = bits(x);
  i16 exponent = each_int_part([=](int i) { return (raw.part[i] - 0x3f3504f3) >> 23; });
  i16 fraction = each_int_part([=](int i) { return raw.part[i] - (exponent.part[i] << 23); });
  f16 e = to_floats(exponent), m = from_bits(fraction) - broadcast(1.0f), z = m * m;
  f16 p = broadcast(7.0376836292e-2f);
  p = p * m + broadcast(-1.1514610310e-1f);
  p = p * m + broadcast(1.1676998740e-1f);
  p = p * m + broadcast(-1.2420140846e-1f);
  p = p * m + broadcast(1.4249322787e-1f);
  p = p * m + broadcast(-1.6668057665e-1f);
  p = p * m + broadcast(2.0000714765e-1f);
  p = p * m + broadcast(-2.4999993993e-1f);
  p = p * m + broadcast(3.3333331174e-1f);
  f16 y = (p * m) * z + e * broadcast(-2.12194440e-4f) - z * broadcast(0.5f);
  return (m + y) + e * broadcast(0.693359375f);
}
inline float log(float x) {
  float lanes[16];
  store(lanes, log(broadcast(x)));
  return lanes[0];
}

}  // namespace sd
