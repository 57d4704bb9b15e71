#include "linear.h"

#include "elementwise.h"

namespace sd {
namespace {

constexpr float LARGEST = 127.0f;
constexpr float SMALLEST = 1e-30f;  // rows whose numbers are all below are zero: 127 / them would overflow

float quantize_row(const float* x, int inputs, int8_t* values) {
  f16 sizes = zeros();
  int i = 0;
  for (; i + 16 <= inputs; i += 16) sizes = max(absolute(load(x + i)), sizes);
  if (i < inputs) sizes = max(absolute(load(x + i, inputs - i)), sizes);
  float size = maximum(sizes);
  float inverse = size > SMALLEST ? LARGEST / size : 0.0f;
  for (i = 0; i < inputs; i += 16) {
    int count = inputs - i < 16 ? inputs - i : 16;
    f16 scaled = load(x + i, count) * broadcast(inverse);
    i16 whole = nearest_integer(min(max(scaled, broadcast(-LARGEST)), broadcast(LARGEST)));
    int32_t lanes[16];
    memcpy(lanes, &whole, sizeof lanes);
    for (int j = 0; j < count; ++j) values[i + j] = int8_t(lanes[j]);
  }
  for (int j = inputs; j % 4; ++j) values[j] = 0;
  return size > SMALLEST ? size / LARGEST : 0.0f;
}

inline float from_bfloat16(uint16_t x) {
  uint32_t bits = uint32_t(x) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline size_t quads(const Linear& matrix) { return size_t(matrix.inputs + 3) / 4; }

// Weight of (output, input) in the packed layout.
inline size_t place(const Linear& matrix, int output, int input) {
  if (matrix.precision == INT8)
    return ((size_t(output / BLOCK) * quads(matrix) + size_t(input / 4)) * BLOCK + size_t(output % BLOCK)) * 4 +
           size_t(input % 4);
  return (size_t(output / BLOCK) * size_t(matrix.inputs) + size_t(input)) * BLOCK + size_t(output % BLOCK);
}

// Product of one output and one row.
float product(const Linear& matrix, int output, const Quantized& x, int row) {
  float bias = matrix.bias ? matrix.bias[output] : 0.0f;
  if (matrix.precision == INT8) {
    const int8_t* weight = static_cast<const int8_t*>(matrix.weight);
    const int8_t* values = x.values + size_t(row) * size_t(x.stride);
    int32_t total = 0;
    for (int i = 0; i < matrix.inputs; ++i) total += weight[place(matrix, output, i)] * values[i];
    return float(total) * (x.scales[row] * matrix.scale[output]) + bias;
  }
  const float* values = x.x + size_t(row) * size_t(x.x_stride);
  float sums[2] = {};
  for (int i = 0; i < matrix.inputs; ++i) {
    size_t at = place(matrix, output, i);
    float weight = matrix.precision == FLOAT32 ? static_cast<const float*>(matrix.weight)[at]
                                               : from_bfloat16(static_cast<const uint16_t*>(matrix.weight)[at]);
    sums[i % 2] += values[i] * weight;
  }
  return (sums[0] + sums[1]) + bias;
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

void linear(const Linear& matrix, const Quantized& x, float* y, int y_stride) {
  for (int row = 0; row < x.rows; ++row)
    for (int o = 0; o < matrix.outputs; ++o) y[size_t(row) * size_t(y_stride) + size_t(o)] = product(matrix, o, x, row);
}

void linear(const Linear& matrix, const float* x, int rows, int x_stride, float* y, int y_stride, Arena& arena) {
  Arena::Mark before = arena.mark();
  linear(matrix, quantize(matrix.precision, x, rows, matrix.inputs, x_stride, arena), y, y_stride);
  arena.release(before);
}

void linear_argmax(const Linear& matrix, const Quantized& x, int32_t* best, float* top) {
  for (int row = 0; row < x.rows; ++row) {
    float greatest = -__builtin_inff();
    best[row] = 0;
    for (int o = 0; o < matrix.outputs; ++o) {
      float y = product(matrix, o, x, row);
      if (y > greatest) best[row] = o, greatest = y;
    }
    if (top) top[row] = greatest;
  }
}

void embed(const Linear& matrix, const int32_t* ids, int rows, float scale, float* y, int y_stride) {
  for (int row = 0; row < rows; ++row, y += y_stride)
    for (int i = 0; i < matrix.inputs; ++i) {
      size_t at = place(matrix, ids[row], i);
      if (matrix.precision == INT8)
        y[i] = float(static_cast<const int8_t*>(matrix.weight)[at]) * (matrix.scale[ids[row]] * scale);
      else if (matrix.precision == BFLOAT16)
        y[i] = from_bfloat16(static_cast<const uint16_t*>(matrix.weight)[at]) * scale;
      else
        y[i] = static_cast<const float*>(matrix.weight)[at] * scale;
    }
}

Linear shortlisted(const Linear& matrix, const int32_t* ids, int count, Arena& arena) {
  size_t padded = size_t(blocks_of(count)) * BLOCK;
  size_t width = matrix.precision == INT8 ? 4 : matrix.precision == BFLOAT16 ? 2 : 4;  // bytes of one cell
  size_t step = matrix.precision == INT8 ? 4 : 1;                                     // inputs of one cell
  char* weight = arena.zeros<char>(padded * width * (step == 4 ? quads(matrix) : size_t(matrix.inputs)));
  float* scale = arena.zeros<float>(padded);
  int32_t* correction = arena.zeros<int32_t>(padded);
  float* bias = matrix.bias ? arena.zeros<float>(padded) : nullptr;
  Linear chosen = {matrix.precision, count, matrix.inputs, weight, scale, correction, bias};
  size_t size = width / step;  // bytes of one weight
  for (int o = 0; o < count; ++o) {
    for (int i = 0; i < matrix.inputs; i += int(step))
      memcpy(weight + place(chosen, o, i) * size, static_cast<const char*>(matrix.weight) + place(matrix, ids[o], i) * size,
             width);
    if (matrix.precision == INT8) scale[o] = matrix.scale[ids[o]], correction[o] = matrix.correction[ids[o]];
    if (bias) bias[o] = matrix.bias[ids[o]];
  }
  return chosen;
}

}  // namespace sd
