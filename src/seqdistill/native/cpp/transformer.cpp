// The Transformer, and a mixture's expert that writes, decoded token by token (models/autoregressive/transformer.py).
#include <math.h>

#include "elementwise.h"
#include "norm.h"
#include "paths.h"
#include "search.h"
#include "stacks.h"

namespace sd {
namespace {

struct Transformer {
  Embeddings embeddings;
  Positions positions;
  Encoder encoder;
  Decoder decoder;
  const float* first;  // of an expert: what it reads in place of the first token's vector; otherwise nullptr
  float output_scale;
  OutputLayer output;
};

const void* build_transformer(const Parts& parts, const Model& model) {
  Transformer& made = *parts.arena.zeros<Transformer>(1);
  made.encoder = encoder_of(parts), made.decoder = decoder_of(parts);
  int dim = made.decoder.sizes.dim;
  made.embeddings = embeddings_of(parts, model.source_vocab, model.target_vocab, dim);
  made.positions = sinusoids(dim, parts.arena);
  made.first = parts.has("first") ? parts.vector("first", dim) : nullptr;
  made.output_scale = float(parts.real("output_scale"));
  made.output = output_layer_of(parts, made.embeddings.target, model.ids.never_written);
  return &made;
}

// Keys and values of what has been written, in each layer a row for every row of every step. Hypotheses that share
// their beginnings share its rows: `seen` names those that each one sees, so a new parent moves numbers, not keys and
// values.
struct TransformerState {
  Ragged sources;
  const Memory* memories;
  Paths seen;
  float** written;  // of each layer [room][2 dim]: key, value
  int used, room;   // rows
  int position;     // of the token that is read next
};

void* begin(const void* parts, const Batch& batch, Arena& arena) {
  const Transformer& model = *static_cast<const Transformer*>(parts);
  int rows = batch.sources.rows(), dim = model.decoder.sizes.dim;
  TransformerState* state = arena.array<TransformerState>(1);
  float* x = arena.array<float>(size_t(rows) * size_t(dim));
  embed_sentences(model.embeddings.source, model.positions, batch.source_tokens, batch.sources, x);
  encode(model.encoder, batch.sources, x, arena);
  *state = {batch.sources,
            memories_of(model.decoder, x, rows, arena),
            Paths(batch.sources.count * batch.beam, arena),
            arena.zeros<float*>(size_t(model.decoder.sizes.layers)),
            0,
            0,
            0};
  return state;
}

// Names the cache rows of this step, and makes room for them: doubled, so a row is moved about once.
void open_rows(TransformerState& state, const Sizes& sizes, int rows, Arena& arena) {
  if (state.used + rows > state.room) {
    int room = state.room ? 2 * state.room + rows : 16 * rows;
    size_t width = 2 * size_t(sizes.dim);
    for (int i = 0; i < sizes.layers; ++i) {
      float* grown = arena.array<float>(size_t(room) * width);
      if (state.used) memcpy(grown, state.written[i], sizeof(float) * size_t(state.used) * width);
      state.written[i] = grown;
    }
    state.room = room;
  }
  state.seen.append(rows, arena, [&](int row) { return state.used + row; });
  state.used += rows;
}

// x of each row after self-attention to what it has written, x's own key and value being the last of it.
void attend_to_written(const SelfAttention& layer, const Sizes& sizes, const TransformerState& state, float* written,
                       int rows, float* x, Arena& arena) {
  Arena::Mark before = arena.mark();
  int dim = sizes.dim, stride = 3 * dim;
  const float* input = sublayer_input(layer.around, sizes, x, rows, arena);
  float* query = arena.array<float>(size_t(rows) * size_t(stride));  // with key and value at its right
  linear(layer.query_key_value, input, rows, dim, query, stride, arena);
  int32_t* lengths = arena.array<int32_t>(size_t(rows));
  float* own = written + size_t(state.used - rows) * size_t(2 * dim);
  for (int row = 0; row < rows; ++row) {
    memcpy(own + size_t(row) * size_t(2 * dim), query + size_t(row) * size_t(stride) + dim,
           sizeof(float) * size_t(2 * dim));
    lengths[row] = state.seen.length;
  }
  float* read = arena.array<float>(size_t(rows) * size_t(dim));
  Memory cache = {written, written + dim, 2 * dim, 2 * dim};
  attend_rows(query, stride, rows, cache, state.seen.values(), state.seen.stride, lengths, sizes.heads, dim, read, dim,
              arena);
  add_output(layer.around, sizes, layer.output, read, dim, rows, x, arena);
  arena.release(before);
}

void read_tokens(const Transformer& model, const int32_t* tokens, int position, int rows, float* x) {
  if (position || !model.first) return embed_at(model.embeddings.target, model.positions, tokens, position, rows, x);
  size_t dim = size_t(model.decoder.sizes.dim);
  for (int row = 0; row < rows; ++row, x += dim) {
    memcpy(x, model.first, sizeof(float) * dim);
    scale(x, sqrtf(float(dim)), dim);
    add_positions(model.positions, position, 1, x, int(dim));
  }
}

void step(const void* parts, void* at, const Live& live, const int32_t* tokens, float* hidden, Arena& arena) {
  const Transformer& model = *static_cast<const Transformer*>(parts);
  TransformerState& state = *static_cast<TransformerState*>(at);
  const Sizes& sizes = model.decoder.sizes;
  int rows = live.rows.rows(), dim = sizes.dim;
  open_rows(state, sizes, rows, arena);
  read_tokens(model, tokens, state.position++, rows, hidden);
  for (int i = 0; i < sizes.layers; ++i) {
    const DecoderLayer& layer = model.decoder.layers[i];
    attend_to_written(layer.self_attention, sizes, state, state.written[i], rows, hidden, arena);
    cross_attention(layer.cross_attention, sizes, live.rows, live.sentences, state.memories[i], state.sources, hidden,
                    arena);
    feed_forward(layer.feed_forward, sizes, rows, hidden, arena);
  }
  const Norm& norm = model.decoder.norm;
  if (sizes.norm_first) layer_norm(hidden, rows, dim, dim, norm.weight, norm.bias, hidden, dim);
  if (model.output_scale != 1) scale(hidden, model.output_scale, size_t(rows) * size_t(dim));
}

void select(void* state, const int32_t* parents, int rows) {
  static_cast<TransformerState*>(state)->seen.select(parents, rows);
}

void decode_transformer(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  search(model, {begin, step, select}, static_cast<const Transformer*>(model.parts)->output.written, batch, found,
         arena);
}

void score_transformer(const Model& model, const Batch& batch, const SdLists& targets, double* log_probs,
                       Arena& arena) {
  score(model, {begin, step, select}, static_cast<const Transformer*>(model.parts)->output.all, batch, targets,
        log_probs, arena);
}

}  // namespace

const Family TRANSFORMER = {"transformer", build_transformer, decode_transformer, score_transformer, 0};
const Family MIXTURE = {"mixture", build_transformer, decode_transformer, score_transformer, 0};

}  // namespace sd
