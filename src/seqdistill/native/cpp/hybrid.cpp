// Transformer encoder, recurrent decoder (models/autoregressive/hybrid.py).
#include "cells.h"
#include "elementwise.h"
#include "norm.h"
#include "search.h"
#include "stacks.h"

namespace sd {
namespace {

struct Layer {
  RecurrentLayer recurrence;
  Norm around_recurrence;
  bool attends;  // whether it reads the source, and has a feed-forward layer
  CrossAttention cross_attention;
  FeedForward feed_forward;
};

struct Hybrid {
  Embeddings embeddings;
  Positions positions;
  Encoder encoder;
  Sizes sizes;  // of the decoder
  int cell;
  const Layer* layers;
  Norm norm;
  float output_scale;
  OutputLayer output;
};

const Layer* layers_of(const Parts& decoder, const Sizes& sizes, int cell, bool attention_once) {
  Layer* layers = decoder.arena.zeros<Layer>(size_t(sizes.layers));
  for (int i = 0; i < sizes.layers; ++i) {
    Parts part = decoder.in("layers", i);
    Layer& layer = layers[i];
    layer.recurrence = recurrent_layer(part.in("recurrence"), cell, sizes.dim, sizes.dim, 0, 1.0f);
    layer.around_recurrence = norm_of(part, "around_recurrence.norm", sizes.dim);
    layer.attends = !attention_once || i + 1 == sizes.layers;
    if (!layer.attends) continue;
    layer.cross_attention = cross_attention_of(part, sizes.dim);
    layer.feed_forward = feed_forward_of(part, sizes);
  }
  return layers;
}

const void* build_hybrid(const Parts& parts, const Model& model) {
  const char* const attentions[] = {"every", "once"};
  Hybrid& hybrid = *parts.arena.zeros<Hybrid>(1);
  hybrid.encoder = encoder_of(parts);
  hybrid.sizes = sizes_of(parts, "decoder_layers");
  hybrid.embeddings = embeddings_of(parts, model.source_vocab, model.target_vocab, hybrid.sizes.dim);
  hybrid.positions = sinusoids(hybrid.sizes.dim, parts.arena);
  hybrid.cell = cell_of(parts);
  Parts decoder = parts.in("decoder");
  hybrid.layers = layers_of(decoder, hybrid.sizes, hybrid.cell, parts.choice("attention", attentions, 2) == 1);
  if (hybrid.sizes.norm_first) hybrid.norm = norm_of(decoder, "norm", hybrid.sizes.dim);
  hybrid.output_scale = float(parts.real("output_scale"));
  hybrid.output = output_layer_of(parts, hybrid.embeddings.target, model.ids.never_written);
  return &hybrid;
}

struct HybridState {
  LayerStates cells;
  Ragged sources;
  Memory* memories;  // of the layers that attend
  int position;      // of the token that is read next
};

void* begin(const void* parts, const Batch& batch, Arena& arena) {
  const Hybrid& hybrid = *static_cast<const Hybrid*>(parts);
  int layers = hybrid.sizes.layers, dim = hybrid.sizes.dim, rows = batch.sources.rows(), stride = 2 * dim;
  HybridState* state = arena.array<HybridState>(1);
  *state = {LayerStates(layers, hybrid.cell, dim, batch.sources.count * batch.beam, arena), batch.sources,
            arena.zeros<Memory>(size_t(layers)), 0};
  for (int i = 0; i < layers; ++i)
    if (hybrid.layers[i].attends) {
      float* numbers = arena.array<float>(size_t(rows) * size_t(stride));
      state->memories[i] = {numbers, numbers + dim, stride, stride};
    }
  Arena::Mark before = arena.mark();
  float* x = arena.array<float>(size_t(rows) * size_t(dim));
  embed_sentences(hybrid.embeddings.source, hybrid.positions, batch.source_tokens, batch.sources, x);
  encode(hybrid.encoder, batch.sources, x, arena);
  Quantized read = quantize(hybrid.encoder.layers[0].feed_forward.inner.precision, x, rows, dim, dim, arena);
  for (int i = 0; i < layers; ++i)
    if (hybrid.layers[i].attends)
      linear(hybrid.layers[i].cross_attention.key_value, read, const_cast<float*>(state->memories[i].key), stride);
  arena.release(before);
  return state;
}

void recur(const Layer& layer, const Sizes& sizes, int rows, const States& states, float* x, Arena& arena) {
  Arena::Mark before = arena.mark();
  const float* input = sublayer_input(layer.around_recurrence, sizes, x, rows, arena);
  ConstRows hidden = step(layer.recurrence, rows, {input, sizes.dim}, states, arena);
  for (int row = 0; row < rows; ++row) add(x + size_t(row) * size_t(sizes.dim), hidden.row(row), size_t(sizes.dim));
  const Norm& norm = layer.around_recurrence;
  if (!sizes.norm_first) layer_norm(x, rows, sizes.dim, sizes.dim, norm.weight, norm.bias, x, sizes.dim);
  arena.release(before);
}

void step(const void* parts, void* at, const Live& live, const int32_t* tokens, float* hidden, Arena& arena) {
  const Hybrid& hybrid = *static_cast<const Hybrid*>(parts);
  HybridState& state = *static_cast<HybridState*>(at);
  const Sizes& sizes = hybrid.sizes;
  int rows = live.rows.rows(), dim = sizes.dim;
  embed_at(hybrid.embeddings.target, hybrid.positions, tokens, state.position++, rows, hidden);
  for (int i = 0; i < sizes.layers; ++i) {
    const Layer& layer = hybrid.layers[i];
    recur(layer, sizes, rows, state.cells.layer(i), hidden, arena);
    if (!layer.attends) continue;
    cross_attention(layer.cross_attention, sizes, live.rows, live.sentences, state.memories[i], state.sources, hidden,
                    arena);
    feed_forward(layer.feed_forward, sizes, rows, hidden, arena);
  }
  if (sizes.norm_first) layer_norm(hidden, rows, dim, dim, hybrid.norm.weight, hybrid.norm.bias, hidden, dim);
  if (hybrid.output_scale != 1) scale(hidden, hybrid.output_scale, size_t(rows) * size_t(dim));
}

void select(void* state, const int32_t* parents, int rows) {
  static_cast<HybridState*>(state)->cells.select(parents, rows);
}

void decode_hybrid(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  search(model, {begin, step, select}, static_cast<const Hybrid*>(model.parts)->output.written, batch, found, arena);
}

void score_hybrid(const Model& model, const Batch& batch, const SdLists& targets, double* log_probs, Arena& arena) {
  score(model, {begin, step, select}, static_cast<const Hybrid*>(model.parts)->output.all, batch, targets, log_probs,
        arena);
}

}  // namespace

const Family HYBRID = {"hybrid", build_hybrid, decode_hybrid, score_hybrid, 0};

}  // namespace sd
