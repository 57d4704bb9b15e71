// Greedy decoding and beam search over any model that writes left to right (decoding/beam.py).
#pragma once
#include "model.h"

namespace sd {

// The hypotheses being written, those of a sentence side by side. With a beam of 2, sentences 0 and 2 left:
//
//   rows.starts 0 2 4   sentences 0 2
struct Live {
  Ragged rows;
  const int32_t* sentences;  // [rows.count]: which sentence of the batch
};

// A model that writes left to right. All rows have read equally many tokens.
struct Writer {
  // Reads the sources: the state before the first token, row i being that of sentence i, with room for batch.beam rows
  // of each. It is made of memory that stays until the end of the call.
  void* (*begin)(const void* parts, const Batch& batch, Arena& arena);
  // Reads a token for each row; writes the states that predict the next one, [rows][output.inputs].
  void (*step)(const void* parts, void* state, const Live& live, const int32_t* tokens, float* hidden, Arena& arena);
  // From now on row i goes on from what row parents[i] has read; both are of the same sentence.
  void (*select)(void* state, const int32_t* parents, int rows);
};

// The n best hypotheses of each sentence by log_prob / length ^ length_penalty, length with EOS.
//
// A sentence is done when `beam` of its hypotheses have ended, when no live one can enter its n best, or at its limit.
// `output` gives the logits of a state; ids that are never written have a bias of -infinity.
void search(const Model& model, const Writer& writer, const Linear& output, const Batch& batch, Found* found,
            Arena& arena);

// The log-probability of each target and EOS given its source, over all words: in nats, one of each sentence. `output`
// gives the logits of a state, as the model has it; batch.beam is 1.
void score(const Model& model, const Writer& writer, const Linear& output, const Batch& batch, const SdLists& targets,
           double* log_probs, Arena& arena);

}  // namespace sd
