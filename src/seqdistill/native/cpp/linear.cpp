#include "linear.h"

#include "float_tile.h"
#include "int8_tile.h"

namespace sd {
namespace {

// Rows that go through all blocks together: their numbers stay in the caches while each block is read once.
constexpr int CHUNK = 48;

// The bias of a block's 64 outputs; `beyond` for those past the last.
struct BlockBias {
  float lanes[BLOCK];
  const float* at;

  BlockBias(const Linear& matrix, int block, float beyond) : at(lanes) {
    int first = block * BLOCK, count = matrix.outputs - first < BLOCK ? matrix.outputs - first : BLOCK;
    if (matrix.bias && count == BLOCK) {
      at = matrix.bias + first;
      return;
    }
    for (int o = 0; o < BLOCK; ++o) lanes[o] = o >= count ? beyond : matrix.bias ? matrix.bias[first + o] : 0.0f;
  }
};

// A tile of ROWS rows from `row` on with one block; sink(row, j, y) takes outputs 16 j .. 16 j + 15 of the block.
struct Int8Kernel {
  static constexpr int MOST_ROWS = INT8_ROWS;

  template <int ROWS, class Sink>
  static void tile(const Linear& matrix, int block, const float* bias, const Quantized& x, int row, Sink sink) {
    int quads = (matrix.inputs + 3) / 4;
    i16 sums[ROWS][4];
    int8_sums<ROWS>({static_cast<const int8_t*>(matrix.weight) + size_t(block) * size_t(quads) * 256,
                     matrix.correction + block * BLOCK, quads, x.values + size_t(row) * size_t(x.stride), x.stride},
                    sums);
    for (int r = 0; r < ROWS; ++r)
      for (int j = 0; j < 4; ++j) {
        f16 scale = broadcast(x.scales[row + r]) * load(matrix.scale + block * BLOCK + 16 * j);
        sink(row + r, j, to_floats(sums[r][j]) * scale + load(bias + 16 * j));
      }
  }
};

template <class Weight>
struct FloatKernel {
  static constexpr int MOST_ROWS = FLOAT_ROWS;

  template <int ROWS, class Sink>
  static void tile(const Linear& matrix, int block, const float* bias, const Quantized& x, int row, Sink sink) {
    f16 sums[ROWS][4];
    float_sums<ROWS>(static_cast<const Weight*>(matrix.weight) + size_t(block) * size_t(matrix.inputs) * BLOCK,
                     matrix.inputs, x.x + size_t(row) * size_t(x.x_stride), x.x_stride, sums);
    for (int r = 0; r < ROWS; ++r)
      for (int j = 0; j < 4; ++j) sink(row + r, j, sums[r][j] + load(bias + 16 * j));
  }
};

// Tiles of ROWS rows as long as they fit, then one of fewer.
template <class Kernel, int ROWS, class Sink>
inline void tiles(const Linear& matrix, int block, const float* bias, const Quantized& x, int row, int end, Sink sink) {
  for (; row + ROWS <= end; row += ROWS) Kernel::template tile<ROWS>(matrix, block, bias, x, row, sink);
  if constexpr (ROWS > 1) tiles<Kernel, ROWS - 1>(matrix, block, bias, x, row, end, sink);
}

// sink_of(block) makes the sink of a block; outputs past the matrix's last have the bias `beyond`.
template <class Kernel, class SinkOf>
void every_block(const Linear& matrix, const Quantized& x, float beyond, SinkOf sink_of) {
  for (int block = 0; block < blocks_of(matrix.outputs); ++block) {
    BlockBias bias(matrix, block, beyond);
    tiles<Kernel, Kernel::MOST_ROWS>(matrix, block, bias.at, x, 0, x.rows, sink_of(block));
  }
}

template <class SinkOf>
void every_product(const Linear& matrix, const Quantized& x, float beyond, SinkOf sink_of) {
  if (matrix.precision == INT8)
    every_block<Int8Kernel>(matrix, x, beyond, sink_of);
  else if (matrix.precision == BFLOAT16)
    every_block<FloatKernel<uint16_t>>(matrix, x, beyond, sink_of);
  else
    every_block<FloatKernel<float>>(matrix, x, beyond, sink_of);
}

// Up to CHUNK rows from `first` on.
Quantized chunk(const Quantized& x, int first) {
  Quantized part = x;
  part.rows = x.rows - first < CHUNK ? x.rows - first : CHUNK;
  if (x.values) part.values += size_t(first) * size_t(x.stride), part.scales += first;
  if (x.x) part.x += size_t(first) * size_t(x.x_stride);
  return part;
}

}  // namespace

void linear(const Linear& matrix, const Quantized& x, float* y, int y_stride) {
  for (int begin = 0; begin < x.rows; begin += CHUNK, y += size_t(CHUNK) * size_t(y_stride))
    every_product(matrix, chunk(x, begin), 0.0f, [&](int block) {
      int first = block * BLOCK, count = matrix.outputs - first;
      return [=](int row, int j, f16 values) {
        float* to = y + size_t(row) * size_t(y_stride) + size_t(first + 16 * j);
        if (16 * j + 16 <= count)
          store(to, values);
        else if (16 * j < count)
          store(to, values, count - 16 * j);
      };
    });
}

void linear(const Linear& matrix, const float* x, int rows, int x_stride, float* y, int y_stride, Arena& arena) {
  Arena::Mark before = arena.mark();
  linear(matrix, quantize(matrix.precision, x, rows, matrix.inputs, x_stride, arena), y, y_stride);
  arena.release(before);
}

void linear_argmax(const Linear& matrix, const Quantized& x, int32_t* best, float* top) {
  float tops[CHUNK];
  for (int begin = 0; begin < x.rows; begin += CHUNK, best += CHUNK) {
    Quantized part = chunk(x, begin);
    for (int row = 0; row < part.rows; ++row) best[row] = 0, tops[row] = -__builtin_inff();
    every_product(matrix, part, -__builtin_inff(), [&](int block) {
      return [=, &tops](int row, int j, f16 values) {
        if (!any_above(values, tops[row])) return;  // as nearly always: a maximum is seldom raised
        float lanes[16];
        store(lanes, values);
        for (int lane = 0; lane < 16; ++lane)
          if (lanes[lane] > tops[row]) tops[row] = lanes[lane], best[row] = block * BLOCK + 16 * j + lane;
      };
    });
    if (top) memcpy(top + begin, tops, sizeof(float) * size_t(part.rows));
  }
}

}  // namespace sd
