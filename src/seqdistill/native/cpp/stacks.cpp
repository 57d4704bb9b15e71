#include "stacks.h"

#include "words.h"

namespace sd {
namespace {

constexpr int MOST_LAYERS = 1000, MOST_WIDTH = 1000000;

SelfAttention self_attention_of(const Parts& layer, int dim) {
  Parts part = layer.in("self_attention");
  return {part.linear("query_key_value", 3 * dim, dim), part.linear("output", dim, dim),
          norm_of(layer, "around_self.norm", dim)};
}

Norm last_norm_of(const Parts& stack, const Sizes& sizes) {
  return sizes.norm_first ? norm_of(stack, "norm", sizes.dim) : Norm{nullptr, nullptr};
}

}  // namespace

Sizes sizes_of(const Parts& parts, const char* layers_setting) {
  Sizes sizes;
  sizes.layers = parts.number(layers_setting, 1, MOST_LAYERS);
  sizes.dim = parts.number("dim", 2, MOST_WIDTH);
  sizes.ffn_dim = parts.number("ffn_dim", 1, MOST_WIDTH);
  sizes.heads = parts.number("heads", 1, sizes.dim);
  sizes.norm_first = parts.flag("norm_first");
  if (sizes.dim % 2 || sizes.dim % sizes.heads)
    parts.failure.refuse("dim must be even and divisible by heads, but dim is %d and heads %d", sizes.dim, sizes.heads);
  return sizes;
}

Norm norm_of(const Parts& parts, const char* name, int dim) {
  Parts norm = parts.in(name);
  return {norm.vector("weight", dim), norm.vector("bias", dim)};
}

CrossAttention cross_attention_of(const Parts& layer, int dim) {
  Parts part = layer.in("cross_attention");
  return {part.linear("query", dim, dim), part.linear("key_value", 2 * dim, dim), part.linear("output", dim, dim),
          norm_of(layer, "around_cross.norm", dim)};
}

FeedForward feed_forward_of(const Parts& layer, const Sizes& sizes) {
  Parts part = layer.in("feed_forward");
  return {part.linear("inner", sizes.ffn_dim, sizes.dim), part.linear("outer", sizes.dim, sizes.ffn_dim),
          norm_of(layer, "around_feed_forward.norm", sizes.dim)};
}

Encoder encoder_of(const Parts& parts) {
  Sizes sizes = sizes_of(parts, "encoder_layers");
  EncoderLayer* layers = parts.arena.array<EncoderLayer>(size_t(sizes.layers));
  for (int i = 0; i < sizes.layers; ++i) {
    Parts layer = parts.in("encoder.layers", i);
    layers[i] = {self_attention_of(layer, sizes.dim), feed_forward_of(layer, sizes)};
  }
  return {sizes, layers, last_norm_of(parts.in("encoder"), sizes)};
}

Decoder decoder_of(const Parts& parts) {
  Sizes sizes = sizes_of(parts, "decoder_layers");
  DecoderLayer* layers = parts.arena.array<DecoderLayer>(size_t(sizes.layers));
  for (int i = 0; i < sizes.layers; ++i) {
    Parts layer = parts.in("decoder.layers", i);
    layers[i] = {self_attention_of(layer, sizes.dim), cross_attention_of(layer, sizes.dim),
                 feed_forward_of(layer, sizes)};
  }
  return {sizes, layers, last_norm_of(parts.in("decoder"), sizes)};
}

Embeddings embeddings_of(const Parts& parts, int source_vocab, int target_vocab, int dim) {
  Linear target = parts.matrix("target_embedding.weight", target_vocab, dim);
  const bool tied = !parts.has("source_embedding.weight");
  return {tied ? target : parts.matrix("source_embedding.weight", source_vocab, dim), target};
}

OutputLayer output_layer_of(const Parts& parts, const Linear& embedding, Ids never_written) {
  Linear output = embedding;
  if (parts.has("output.bias")) output.bias = parts.vector("output.bias", embedding.outputs);
  return {output, without(output, never_written.values, never_written.count, parts.arena)};
}

}  // namespace sd
