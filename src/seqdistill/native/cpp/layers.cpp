#include "layers.h"

#include <math.h>

#include "elementwise.h"
#include "norm.h"

namespace sd {
namespace {

// x += encoding of a position. Angles are float32, as torch has them; sines of them in double precision, rounded once,
// are the same on every machine.
void add_encoding(const float* frequencies, int position, int half, float* x) {
  for (int i = 0; i < half; ++i) {
    double angle = float(position) * frequencies[i];
    x[i] += float(::sin(angle));
    x[half + i] += float(::cos(angle));
  }
}

void normalise(const Norm& norm, const float* x, int rows, int dim, float* y) {
  layer_norm(x, rows, dim, dim, norm.weight, norm.bias, y, dim);
}

}  // namespace

Positions sinusoids(int dim, Arena& arena) {
  int half = dim / 2;
  float* frequencies = arena.array<float>(size_t(half));
  float* table = arena.zeros<float>(size_t(Positions::IN_TABLE) * size_t(dim));
  // frequency i = 10000^(-i / (half - 1)), from 1 down to 1/10000.
  float exponent = float(-::log(10000.0) / (half > 1 ? half - 1.0 : 1.0));
  for (int i = 0; i < half; ++i) frequencies[i] = float(::exp(double(float(i) * exponent)));
  for (int position = 0; position < Positions::IN_TABLE; ++position)
    add_encoding(frequencies, position, half, table + size_t(position) * size_t(dim));
  return {dim, frequencies, table};
}

void add_positions(const Positions& positions, int first, int rows, float* x, int x_stride) {
  const int dim = positions.dim;
  for (int position = first; position < first + rows; ++position, x += x_stride)
    if (position < Positions::IN_TABLE)
      add(x, positions.table + size_t(position) * size_t(dim), size_t(dim));
    else
      add_encoding(positions.frequencies, position, dim / 2, x);
}

void embed_sentences(const Linear& embedding, const Positions& positions, const int32_t* tokens, Ragged sentences,
                     float* x) {
  const int dim = positions.dim;
  embed(embedding, tokens, sentences.rows(), sqrtf(float(dim)), x, dim);
  for (int i = 0; i < sentences.count; ++i)
    add_positions(positions, 0, sentences.length(i), x + size_t(sentences.first(i)) * size_t(dim), dim);
}

void embed_at(const Linear& embedding, const Positions& positions, const int32_t* tokens, int position, int rows,
              float* x) {
  const int dim = positions.dim;
  embed(embedding, tokens, rows, sqrtf(float(dim)), x, dim);
  for (int row = 0; row < rows; ++row) add_positions(positions, position, 1, x + size_t(row) * size_t(dim), dim);
}

const float* sublayer_input(const Norm& norm, const Sizes& sizes, const float* x, int rows, Arena& arena) {
  if (!sizes.norm_first) return x;
  float* normed = arena.array<float>(size_t(rows) * size_t(sizes.dim));
  normalise(norm, x, rows, sizes.dim, normed);
  return normed;
}

void add_output(const Norm& norm, const Sizes& sizes, const Linear& output, const float* read, int read_stride,
                int rows, float* x, Arena& arena) {
  float* change = arena.array<float>(size_t(rows) * size_t(sizes.dim));
  linear(output, read, rows, read_stride, change, sizes.dim, arena);
  add(x, change, size_t(rows) * size_t(sizes.dim));
  if (!sizes.norm_first) normalise(norm, x, rows, sizes.dim, x);
}

void self_attention(const SelfAttention& layer, const Sizes& sizes, Ragged sentences, float* x, Arena& arena) {
  Arena::Mark before = arena.mark();
  const int rows = sentences.rows(), dim = sizes.dim, stride = 3 * dim;
  const float* input = sublayer_input(layer.around, sizes, x, rows, arena);
  float* query = arena.array<float>(size_t(rows) * size_t(stride));  // with key and value at its right
  linear(layer.query_key_value, input, rows, dim, query, stride, arena);
  float* read = arena.array<float>(size_t(rows) * size_t(dim));
  Memory memory = {query + dim, query + 2 * dim, stride, stride};
  attend(query, stride, sentences, memory, sentences, nullptr, sizes.heads, dim, read, dim, arena);
  add_output(layer.around, sizes, layer.output, read, dim, rows, x, arena);
  arena.release(before);
}

void cross_attention(const CrossAttention& layer, const Sizes& sizes, Ragged lists, const int32_t* sentences,
                     const Memory& memory, Ragged sources, float* x, Arena& arena) {
  Arena::Mark before = arena.mark();
  const int rows = lists.rows(), dim = sizes.dim;
  const float* input = sublayer_input(layer.around, sizes, x, rows, arena);
  float* query = arena.array<float>(size_t(rows) * size_t(dim));
  linear(layer.query, input, rows, dim, query, dim, arena);
  float* read = arena.array<float>(size_t(rows) * size_t(dim));
  attend(query, dim, lists, memory, sources, sentences, sizes.heads, dim, read, dim, arena);
  add_output(layer.around, sizes, layer.output, read, dim, rows, x, arena);
  arena.release(before);
}

void feed_forward(const FeedForward& layer, const Sizes& sizes, int rows, float* x, Arena& arena) {
  Arena::Mark before = arena.mark();
  const float* input = sublayer_input(layer.around, sizes, x, rows, arena);
  float* hidden = arena.array<float>(size_t(rows) * size_t(sizes.ffn_dim));
  linear(layer.inner, input, rows, sizes.dim, hidden, sizes.ffn_dim, arena);
  relu(hidden, size_t(rows) * size_t(sizes.ffn_dim));
  add_output(layer.around, sizes, layer.outer, hidden, sizes.ffn_dim, rows, x, arena);
  arena.release(before);
}

void encode(const Encoder& encoder, Ragged sentences, float* x, Arena& arena) {
  const Sizes& sizes = encoder.sizes;
  for (int i = 0; i < sizes.layers; ++i) {
    self_attention(encoder.layers[i].self_attention, sizes, sentences, x, arena);
    feed_forward(encoder.layers[i].feed_forward, sizes, sentences.rows(), x, arena);
  }
  if (sizes.norm_first) normalise(encoder.norm, x, sentences.rows(), sizes.dim, x);
}

const Memory* memories_of(const Decoder& decoder, const float* states, int rows, Arena& arena) {
  const int layers = decoder.sizes.layers, dim = decoder.sizes.dim, stride = 2 * dim;
  Memory* memories = arena.array<Memory>(size_t(layers));
  float* numbers = arena.array<float>(size_t(layers) * size_t(rows) * size_t(stride));
  Arena::Mark before = arena.mark();
  Quantized read = quantize(decoder.layers[0].cross_attention.key_value.precision, states, rows, dim, dim, arena);
  for (int i = 0; i < layers; ++i, numbers += size_t(rows) * size_t(stride)) {
    linear(decoder.layers[i].cross_attention.key_value, read, numbers, stride);
    memories[i] = {numbers, numbers + dim, stride, stride};
  }
  arena.release(before);
  return memories;
}

void decode(const Decoder& decoder, Ragged lists, const int32_t* sentences, const Memory* memories, Ragged sources,
            float* x, Arena& arena) {
  const Sizes& sizes = decoder.sizes;
  for (int i = 0; i < sizes.layers; ++i) {
    const DecoderLayer& layer = decoder.layers[i];
    self_attention(layer.self_attention, sizes, lists, x, arena);
    cross_attention(layer.cross_attention, sizes, lists, sentences, memories[i], sources, x, arena);
    feed_forward(layer.feed_forward, sizes, lists.rows(), x, arena);
  }
  if (sizes.norm_first) normalise(decoder.norm, x, lists.rows(), sizes.dim, x);
}

}  // namespace sd
