// The blocks of the Transformer (Vaswani et al. 2017, section 3; nn/layers.py) over sentences without padding.
#pragma once
#include "arena.h"
#include "attention.h"
#include "linear.h"

namespace sd {

// Position encodings (nn/layers.py, `sinusoids`): sines of falling frequency in the first half of the vector, cosines
// in the second. Those of the first positions lie in a table, others are computed when they are met.
struct Positions {
  static constexpr int IN_TABLE = 256;
  int dim;
  const float* frequencies;  // [dim / 2]
  const float* table;        // [IN_TABLE, dim]
};
Positions sinusoids(int dim, Arena& arena);

// x[row] += encoding of position first + row.
void add_positions(const Positions& positions, int first, int rows, float* x, int x_stride);

// x[row] = sqrt(dim) * word vector + encoding of the position in its sentence; rows of x have `dim` floats, as
// everywhere in this file.
void embed_sentences(const Linear& embedding, const Positions& positions, const int32_t* tokens, Ragged sentences,
                     float* x);
// The same of tokens that all stand at one position.
void embed_at(const Linear& embedding, const Positions& positions, const int32_t* tokens, int position, int rows,
              float* x);

struct Norm {
  const float *weight, *bias;
};

struct SelfAttention {
  Linear query_key_value, output;
  Norm around;
};
struct CrossAttention {
  Linear query, key_value, output;
  Norm around;
};
struct FeedForward {
  Linear inner, outer;
  Norm around;
};

struct EncoderLayer {
  SelfAttention self_attention;
  FeedForward feed_forward;
};
struct DecoderLayer {
  SelfAttention self_attention;
  CrossAttention cross_attention;
  FeedForward feed_forward;
};

// What all layers of a stack have in common.
struct Sizes {
  int layers, dim, ffn_dim, heads;
  bool norm_first;  // normalise what a sublayer reads; otherwise what comes out of it
};
struct Encoder {
  Sizes sizes;
  const EncoderLayer* layers;
  Norm norm;  // of the states, where norm_first
};
struct Decoder {
  Sizes sizes;
  const DecoderLayer* layers;
  Norm norm;
};

// Around a sublayer: x becomes x + sublayer(norm(x)) where norm_first, else norm(x + sublayer(x)). `sublayer_input` is
// what the sublayer reads (x itself, or an array of the arena); `add_output` adds the product of `read` with the
// sublayer's last matrix, and normalises.
const float* sublayer_input(const Norm& norm, const Sizes& sizes, const float* x, int rows, Arena& arena);
void add_output(const Norm& norm, const Sizes& sizes, const Linear& output, const float* read, int read_stride,
                int rows, float* x, Arena& arena);

// x of each row, after the sublayer with its norm and residual connection.
void self_attention(const SelfAttention& layer, const Sizes& sizes, Ragged sentences, float* x, Arena& arena);
void feed_forward(const FeedForward& layer, const Sizes& sizes, int rows, float* x, Arena& arena);

// Lists of rows that each attend to one encoded source: list i to sentence sentences[i] (nullptr: i), so the candidates
// of a sentence read one memory.
void cross_attention(const CrossAttention& layer, const Sizes& sizes, Ragged lists, const int32_t* sentences,
                     const Memory& memory, Ragged sources, float* x, Arena& arena);

// x of embedded sentences becomes the states of every position.
void encode(const Encoder& encoder, Ragged sentences, float* x, Arena& arena);

// What the decoder's layers read of encoded sources: keys and values, one Memory a layer, once a sentence.
const Memory* memories_of(const Decoder& decoder, const float* states, int rows, Arena& arena);

// x of embedded lists becomes the states of every position, all positions of a list seeing each other.
void decode(const Decoder& decoder, Ragged lists, const int32_t* sentences, const Memory* memories, Ragged sources,
            float* x, Arena& arena);

}  // namespace sd
