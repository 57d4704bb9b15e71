#include "norm.h"

namespace sd {
namespace {

// Sum over the row of of(numbers), where lanes past the end are left out.
template <class Of>
inline float row_sum(const float* x, int dim, Of of) {
  f16 total = zeros();
  int i = 0;
  for (; i + 16 <= dim; i += 16) total += of(load(x + i));
  if (i < dim) {
    float lanes[16] = {};
    store(lanes, of(load(x + i, dim - i)), dim - i);
    total += load(lanes);
  }
  return sum(total);
}

}  // namespace

void layer_norm(const float* x, int rows, int x_stride, int dim, const float* weight, const float* bias, float* y,
                int y_stride) {
  for (int row = 0; row < rows; ++row, x += x_stride, y += y_stride) {
    f16 mean = broadcast(row_sum(x, dim, [](f16 v) { return v; }) / float(dim));
    float squares = row_sum(x, dim, [mean](f16 v) { return (v - mean) * (v - mean); });
    f16 inverse = broadcast(1.0f / __builtin_sqrtf(squares / float(dim) + 1e-5f));
    int i = 0;
    for (; i + 16 <= dim; i += 16) store(y + i, (load(x + i) - mean) * inverse * load(weight + i) + load(bias + i));
    int rest = dim - i;
    if (rest) {
      f16 last = (load(x + i, rest) - mean) * inverse * load(weight + i, rest) + load(bias + i, rest);
      store(y + i, last, rest);
    }
  }
}

}  // namespace sd
