// Finds the layers of an exported model by their names in the model's state_dict.
#pragma once
#include "layers.h"
#include "model.h"

namespace sd {

// Settings dim, ffn_dim, heads, norm_first and `layers_setting` ("encoder_layers").
Sizes sizes_of(const Parts& parts, const char* layers_setting);

// NAME.weight and NAME.bias
Norm norm_of(const Parts& parts, const char* name, int dim);

// Layers of "encoder" and "decoder".
Encoder encoder_of(const Parts& parts);
Decoder decoder_of(const Parts& parts);

// Parts of one layer.
CrossAttention cross_attention_of(const Parts& layer, int dim);
FeedForward feed_forward_of(const Parts& layer, const Sizes& sizes);

// Word vectors of each side, the same where they are tied: then there is a target's alone.
struct Embeddings {
  Linear source, target;
};
Embeddings embeddings_of(const Parts& parts, int source_vocab, int target_vocab, int dim);

// The target embedding as output layer, with the vector output.bias where there is one.
struct OutputLayer {
  Linear all;
  Linear written;  // the same with a bias of -infinity for ids that are never written
};
OutputLayer output_layer_of(const Parts& parts, const Linear& embedding, Ids never_written);

}  // namespace sd
