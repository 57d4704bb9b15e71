// Layer normalisation (Ba et al. 2016).
#pragma once
#include "vectors.h"

namespace sd {

// y = (x - mean) / sqrt(variance + 1e-5) * weight + bias of every row, over its `dim` numbers, as torch's LayerNorm;
// y may be x. Rows lie x_stride and y_stride floats apart.
void layer_norm(const float* x, int rows, int x_stride, int dim, const float* weight, const float* bias, float* y,
                int y_stride);

}  // namespace sd
