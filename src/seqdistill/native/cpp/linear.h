// Products with packed matrices: y = x W' + b, rows of embeddings, shortlists, and argmax without stored logits.
#pragma once
#include "arena.h"
#include "vectors.h"

namespace sd {

enum Precision { INT8, BFLOAT16, FLOAT32 };

// A matrix W of [outputs, inputs], packed in blocks of 64 outputs (rows of W), padded with zeros to whole blocks:
//
//   int8               [outputs/64][inputs/4][64][4]   four inputs of an output side by side, inputs padded to a
//                                                      multiple of 4: what one vpdpbusd or dot-product lane takes
//   bfloat16, float32  [outputs/64][inputs][64]        64 outputs of one input side by side
//
// int8: W[o][i] is about weight * scale[o], weights within +-127; correction[o] = -128 * sum of the row's weights, for
// sets that multiply x + 128 (unsigned). `weight`, `scale` and `correction` are padded to whole blocks and aligned to
// 64 bytes; `bias` has `outputs` floats, or is nullptr for none.
struct Linear {
  int precision;
  int outputs, inputs;
  const void* weight;
  const float* scale;
  const int32_t* correction;
  const float* bias;
};

constexpr int BLOCK = 64;
inline int blocks_of(int outputs) { return (outputs + BLOCK - 1) / BLOCK; }

// Rows that products read; made once for all products of the same rows. int8: x[row][i] is about
// values[row * stride + i] * scales[row], values within +-127 (stored + 128 where the set multiplies unsigned numbers),
// scale = greatest |x| of the row / 127. Other precisions: the floats themselves, which must stay until then.
struct Quantized {
  int rows, inputs;
  const int8_t* values;
  int stride;
  const float* scales;
  const float* x;
  int x_stride;
};

// Prepares rows of x for products with matrices of this precision.
Quantized quantize(int precision, const float* x, int rows, int inputs, int x_stride, Arena& arena);

// y[row][o] = sum over i of x[row][i] W[o][i] + bias[o]; exactly `outputs` floats of each row of y are written.
void linear(const Linear& matrix, const Quantized& x, float* y, int y_stride);
void linear(const Linear& matrix, const float* x, int rows, int x_stride, float* y, int y_stride, Arena& arena);

// best[row] = the output with the greatest y, of equal ones the first; top[row] = that y (top may be nullptr).
// 0 where every y is -infinity.
void linear_argmax(const Linear& matrix, const Quantized& x, int32_t* best, float* top);

// y[row] = scale * W[ids[row]], without bias: embeddings. ids must be within the matrix.
void embed(const Linear& matrix, const int32_t* ids, int rows, float scale, float* y, int y_stride);

// The matrix of these rows of W alone, in this order (a shortlist), in the arena: product o is that of ids[o].
Linear shortlisted(const Linear& matrix, const int32_t* ids, int count, Arena& arena);

}  // namespace sd
