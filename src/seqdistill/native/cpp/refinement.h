// The decoder of all non-autoregressive models: a canvas is refined until it no longer changes
// (decoding/refinement.py).
#pragma once
#include "canvas.h"
#include "model.h"
#include "stacks.h"
#include "words.h"

namespace sd {

// The parts of a non-autoregressive model. Heads are those of its family; others are not set.
struct Refined {
  SpecialIds ids;
  int dim, iterations;  // most iterations, unless told otherwise
  Linear source_embedding, target_embedding;
  Linear output;  // the target embedding without what is not written
  Positions positions;
  Encoder encoder;
  Decoder decoder;

  // Models that predict a length (nat, inat, cmlm): 256 classes, from the mean of the encoder's states. They are
  // lengths, or differences to the source's length from -128 on.
  Linear length;
  bool offsets;

  // Models that insert read two neighbours at once, 2 dim numbers.
  Linear slot;          // dim outputs, from which a word is predicted (inst)
  Linear placeholders;  // 256 outputs: 0 .. 255 tokens are inserted (levt)
  Linear deletion;      // 2 outputs: keep or delete a token (levt)
};

// The parts that all families have; `not_written` are ids that have no probability.
Refined* refined_of(const Parts& parts, const Model& model, Ids not_written);

// The sentences of a call, encoded, and how they are decoded.
struct Work {
  const Refined& model;
  Ragged sources;
  const int32_t* source_tokens;  // ending with EOS
  const float* states;           // the encoder's, [sources.rows(), dim]
  const Memory* memories;        // of each decoder layer
  WordLists words;
  int beam, iterations;
  bool scores;  // whether log-probabilities are wanted
  float penalty;
  Arena& arena;
};

// What a family is to the decoder.
struct Refiner {
  bool settles;                                 // a row that an iteration has not changed will never change again
  bool reads_log_probs;                         // of the words it wrote, in the next iteration
  const int32_t* (*lengths)(const Work& work);  // of each candidate's first canvas, all MASK; nullptr: it is empty
  // One iteration, counting passes; afterwards no MASK is left, and no row is longer than its limit.
  void (*refine)(const Work& work, Canvas& canvas, int step);
};

// Decodes every sentence in `beam` candidates side by side. A row leaves when an iteration gives back the words that it
// was given; of a model that does not settle, when an iteration had nothing to do for it.
void refine(const Refined& model, const Refiner& refiner, const Batch& batch, Found* found, Arena& arena);

// Rows of tokens that the decoder reads together; all arrays are in the arena.
struct Run {
  Ragged rows;
  const int32_t* sentences;  // of each row
  const int32_t* tokens;
  float* states;  // [rows.rows(), dim], after `run_decoder`

  int total() const { return rows.rows(); }
};

// All rows of the canvas as they are; counts a pass for each.
Run whole_run(const Work& work, Canvas& canvas);

// These rows with BOS (without one: EOS) before and EOS after the tokens; counts a pass for each.
Run bracketed_run(const Work& work, Canvas& canvas, const int32_t* rows, int count);

// Numbers of all rows of a canvas.
const int32_t* all_rows(const Canvas& canvas, Arena& arena);

// Embeds the run's tokens, and makes states of them.
void run_decoder(const Work& work, Run& run);

// The same of word vectors that lie in `states` already, without positions.
void run_decoder_on_vectors(const Work& work, Run& run);

// The sentence of each place of a run, or of each slot between two of a bracketed one.
const int32_t* sentences_of_places(const Run& run, Arena& arena);
const int32_t* sentences_of_slots(const Run& run, Arena& arena);

// What a head that reads two neighbours says of each slot of a bracketed run, [slots, outputs of the head].
float* of_slots(const Linear& head, const Run& run, int dim, Arena& arena);

// Writes the most probable words at `count` places of the canvas, given the states of these places of the run.
void write_words(const Work& work, const Run& run, const int32_t* run_places, Canvas& canvas, const int32_t* places,
                 int count);

}  // namespace sd
