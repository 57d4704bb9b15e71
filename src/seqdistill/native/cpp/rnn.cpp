// Recurrent encoder-decoder: bidirectional encoder, left-to-right decoder, one attention after its layers
// (models/autoregressive/rnn.py).
#include <math.h>

#include "attention.h"
#include "cells.h"
#include "elementwise.h"
#include "search.h"
#include "words.h"

namespace sd {
namespace {

constexpr int MOST_LAYERS = 1000, MOST_WIDTH = 1000000;

struct Rnn {
  int cell, dim, embedding_dim, layers;
  Linear source_embedding, target_embedding;
  const RecurrentLayer* encoder[2];  // forward, backward: [layers]
  const RecurrentLayer* decoder;
  const Linear *encoder_projections, *decoder_projections;  // [layers - 1], between two layers; nullptr: none
  Linear key, attentional, output;
  Linear written;  // the target embedding as output layer, without ids that are never written
};

const RecurrentLayer* layers_of(const Parts& stack, const Rnn& rnn, int between, int dim, int direction, float scale) {
  RecurrentLayer* layers = stack.arena.array<RecurrentLayer>(size_t(rnn.layers));
  for (int i = 0; i < rnn.layers; ++i)
    layers[i] =
        recurrent_layer(stack.in("layers", i), rnn.cell, i ? between : rnn.embedding_dim, dim, direction, scale);
  return layers;
}

const Linear* projections_of(const Parts& stack, const Rnn& rnn, int width) {
  if (!width) return nullptr;
  Linear* projections = stack.arena.array<Linear>(size_t(rnn.layers));
  for (int i = 0; i + 1 < rnn.layers; ++i) projections[i] = stack.in("projections", i).matrix("weight", width, rnn.dim);
  return projections;
}

const void* build_rnn(const Parts& parts, const Model& model) {
  Rnn& rnn = *parts.arena.zeros<Rnn>(1);
  rnn.cell = cell_of(parts);
  rnn.dim = parts.number("dim", 2, MOST_WIDTH);
  rnn.embedding_dim = parts.number("embedding_dim", 1, MOST_WIDTH);
  rnn.layers = parts.number("layers", 1, MOST_LAYERS);
  int projection = parts.number("projection", 0, MOST_WIDTH), between = projection ? projection : rnn.dim;
  if (rnn.dim % 2) parts.failure.refuse("dim must be even, but is %d", rnn.dim);
  float scale = parts.flag("rescale") ? float(::sqrt(1 + 2 * ::exp(parts.real("highway_bias")))) : 1.0f;
  rnn.target_embedding = parts.matrix("target_embedding.weight", model.target_vocab, rnn.embedding_dim);
  rnn.source_embedding = parts.flag("tied")
                             ? rnn.target_embedding
                             : parts.matrix("source_embedding.weight", model.source_vocab, rnn.embedding_dim);
  Parts encoder = parts.in("encoder"), decoder = parts.in("decoder");
  for (int direction = 0; direction < 2; ++direction)
    rnn.encoder[direction] = layers_of(encoder, rnn, between, rnn.dim / 2, direction, scale);
  rnn.decoder = layers_of(decoder, rnn, between, rnn.dim, 0, scale);
  rnn.encoder_projections = projections_of(encoder, rnn, projection);
  rnn.decoder_projections = projections_of(decoder, rnn, projection);
  rnn.key = parts.matrix("key.weight", rnn.dim, rnn.dim);
  rnn.attentional = parts.linear("attentional", rnn.dim, 2 * rnn.dim);
  rnn.output = parts.linear("output", rnn.embedding_dim, rnn.dim);
  const Ids& unwritten = model.ids.never_written;
  rnn.written = without(rnn.target_embedding, unwritten.values, unwritten.count, parts.arena);
  return &rnn;
}

// The next layer's input: the rows themselves where there is no projection.
ConstRows projected(const Linear* projections, int layer, int rows, ConstRows x, Arena& arena) {
  if (!projections) return x;
  const Linear& projection = projections[layer];
  float* y = arena.array<float>(size_t(rows) * size_t(projection.outputs));
  linear(projection, x.at, rows, x.stride, y, projection.outputs, arena);
  return {y, projection.outputs};
}

struct RnnState {
  LayerStates cells;
  Ragged sources;
  Memory memory;  // keys and values of the attention
};

// States of all source tokens, [rows][dim]; what the layers end with goes into `cells`, of which the decoder starts.
void encode(const Rnn& rnn, const Batch& batch, LayerStates& cells, float* states, Arena& arena) {
  Arena::Mark before = arena.mark();
  int rows = batch.sources.rows(), dim = rnn.dim, half = dim / 2;
  float* embedded = arena.array<float>(size_t(rows) * size_t(rnn.embedding_dim));
  embed(rnn.source_embedding, batch.source_tokens, rows, 1, embedded, rnn.embedding_dim);
  float* other = arena.array<float>(size_t(rows) * size_t(dim));
  ConstRows x = {embedded, rnn.embedding_dim};
  for (int i = 0; i < rnn.layers; ++i) {
    if (i) x = projected(rnn.encoder_projections, i - 1, rows, x, arena);
    // Layers write to `states` and `other` in turn, the last one to `states`.
    Rows hidden = {(rnn.layers - i) % 2 ? states : other, dim};
    Quantized read =
        quantize(rnn.encoder[0][i].input.precision, x.at, rows, rnn.encoder[0][i].input.inputs, x.stride, arena);
    for (int direction = 0; direction < 2; ++direction)
      scan(rnn.encoder[direction][i], batch.sources, direction == 1, x, read, cells.part(i, direction * half),
           {hidden.at + direction * half, dim}, arena);
    x = hidden;
  }
  arena.release(before);
}

void* begin(const void* parts, const Batch& batch, Arena& arena) {
  const Rnn& rnn = *static_cast<const Rnn*>(parts);
  size_t size = size_t(batch.sources.rows()) * size_t(rnn.dim);
  RnnState* state = arena.array<RnnState>(1);
  *state = {LayerStates(rnn.layers, rnn.cell, rnn.dim, batch.sources.count * batch.beam, arena), batch.sources, {}};
  float *values = arena.array<float>(size), *keys = arena.array<float>(size);
  encode(rnn, batch, state->cells, values, arena);
  linear(rnn.key, values, batch.sources.rows(), rnn.dim, keys, rnn.dim, arena);
  state->memory = {keys, values, rnn.dim, rnn.dim};
  return state;
}

void step(const void* parts, void* at, const Live& live, const int32_t* tokens, float* hidden, Arena& arena) {
  const Rnn& rnn = *static_cast<const Rnn*>(parts);
  RnnState& state = *static_cast<RnnState*>(at);
  Arena::Mark before = arena.mark();
  int rows = live.rows.rows(), dim = rnn.dim;
  float* embedded = arena.array<float>(size_t(rows) * size_t(rnn.embedding_dim));
  embed(rnn.target_embedding, tokens, rows, 1, embedded, rnn.embedding_dim);
  ConstRows x = {embedded, rnn.embedding_dim};
  for (int i = 0; i < rnn.layers; ++i) {
    if (i) x = projected(rnn.decoder_projections, i - 1, rows, x, arena);
    x = sd::step(rnn.decoder[i], rows, x, state.cells.layer(i), arena);
  }
  // tanh(W [h; context]), the context from one attention of the whole width.
  Rows both = {arena.array<float>(size_t(rows) * size_t(2 * dim)), 2 * dim};
  for (int row = 0; row < rows; ++row) memcpy(both.row(row), x.row(row), sizeof(float) * size_t(dim));
  attend(both.at, both.stride, live.rows, state.memory, state.sources, live.sentences, 1, dim, both.at + dim,
         both.stride, arena);
  float* attentional = arena.array<float>(size_t(rows) * size_t(dim));
  linear(rnn.attentional, both.at, rows, both.stride, attentional, dim, arena);
  tanh(attentional, size_t(rows) * size_t(dim));
  linear(rnn.output, attentional, rows, dim, hidden, rnn.embedding_dim, arena);
  arena.release(before);
}

void select(void* state, const int32_t* parents, int rows) {
  static_cast<RnnState*>(state)->cells.select(parents, rows);
}

void decode_rnn(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  search(model, {begin, step, select}, static_cast<const Rnn*>(model.parts)->written, batch, found, arena);
}

void score_rnn(const Model& model, const Batch& batch, const SdLists& targets, double* log_probs, Arena& arena) {
  score(model, {begin, step, select}, static_cast<const Rnn*>(model.parts)->target_embedding, batch, targets, log_probs,
        arena);
}

}  // namespace

const Family RNN = {"rnn", build_rnn, decode_rnn, score_rnn, 0};

}  // namespace sd
