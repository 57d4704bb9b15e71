// Element-wise operations on runs of floats, and reductions in a fixed order. `y` may be `x` itself.
#pragma once
#include "vectors.h"

namespace sd {

// y[i] = of(x[i]), sixteen at a time; the last ones padded with zeros.
template <class Of>
inline void map(const float* x, size_t count, float* y, Of of) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) store(y + i, of(load(x + i)));
  if (i < count) store(y + i, of(load(x + i, int(count - i))), int(count - i));
}

// y[i] = of(y[i], x[i])
template <class Of>
inline void combine(float* y, const float* x, size_t count, Of of) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) store(y + i, of(load(y + i), load(x + i)));
  int rest = int(count - i);
  if (rest) store(y + i, of(load(y + i, rest), load(x + i, rest)), rest);
}

inline void add(float* y, const float* x, size_t count) {
  combine(y, x, count, [](f16 a, f16 b) { return a + b; });
}
inline void scale(float* y, float by, size_t count) {
  map(y, count, y, [by](f16 a) { return a * broadcast(by); });
}
inline void relu(float* y, size_t count) {
  map(y, count, y, [](f16 a) { return max(a, zeros()); });
}
inline void tanh(float* y, size_t count) {
  map(y, count, y, [](f16 a) { return tanh(a); });
}

// Index of the greatest number; of equal ones the first; 0 if none is above -infinity. `count` is 1 or more.
inline int argmax(const float* x, int count) {
  int best = 0, i = 0;
  for (; i + 16 <= count; i += 16) {
    if (!any_above(load(x + i), x[best])) continue;  // as nearly always: a maximum is seldom raised
    for (int lane = i; lane < i + 16; ++lane)
      if (x[lane] > x[best]) best = lane;
  }
  for (; i < count; ++i)
    if (x[i] > x[best]) best = i;
  return best;
}

// log sum exp(x[i]), in a fixed order; -infinity where all are.
inline float log_sum_exp(const float* x, int count) {
  float top = x[argmax(x, count)];
  if (!(top > -__builtin_inff())) return -__builtin_inff();
  f16 total = zeros();
  int i = 0;
  for (; i + 16 <= count; i += 16) total += exp(load(x + i) - broadcast(top));
  if (i < count) {
    f16 last = exp(load(x + i, count - i) - broadcast(top));
    float lanes[16] = {};
    store(lanes, last, count - i);  // lanes beyond the end are no numbers of x
    total += load(lanes);
  }
  return top + log(sum(total));
}

}  // namespace sd
