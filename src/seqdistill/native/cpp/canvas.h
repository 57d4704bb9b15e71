// Sentences in the making, and what decoders that write in no order do with them.
#pragma once
#include "arena.h"
#include "ragged.h"

namespace sd {

// The outputs a decoder is working on, one row a candidate, one after the other without padding: row i has the tokens
// starts[i] .. starts[i + 1]. All arrays have room for every row at its limit, so rows grow and shrink in place.
struct Canvas {
  int rows;
  int32_t* starts;      // [rows + 1]
  int32_t* tokens;      // no BOS, no EOS; MASK where nothing is written yet
  float* log_probs;     // of each token when it was predicted; 0 where they are not wanted
  int32_t* candidates;  // which one of the call: sentence * beam + number
  int32_t* limits;      // most tokens of the row
  int32_t* passes;      // runs of the decoder that the row has taken part in

  int total() const { return starts[rows]; }
  int length(int row) const { return starts[row + 1] - starts[row]; }
  // Slots, the places where tokens can be inserted, are counted through: row i has length + 1 of them, from here on.
  int first_slot(int row) const { return starts[row] + row; }
  int slots() const { return starts[rows] + rows; }
};

// Rows without tokens; candidate i has limits[i].
Canvas empty_canvas(const int32_t* limits, int rows, Arena& arena);

// Sets every row to MASK in the length given for it, cut to its limit.
void fill_with_masks(Canvas& canvas, const int32_t* lengths, int32_t mask);

// Keeps these rows, which are in ascending order.
void keep_rows(Canvas& canvas, const int32_t* rows, int count);

// Keeps the tokens whose `keep` is not 0; one number for each token of the canvas.
void keep_tokens(Canvas& canvas, const int32_t* keep);

// Inserts counts[slot] MASK in each slot, with a log-probability of 0. Tokens 7 8 and counts 1 0 2 give _ 7 8 _ _.
void insert_masks(Canvas& canvas, const int32_t* counts, int32_t mask);

// Cuts the counts of one row's slots so that they sum to no more than `room`: the most probable slots keep theirs, ties
// go left, and the last one that fits in part gets what is left. Counts 3 0 2 with log-probabilities -2.0 -0.1 -1.0 and
// room for 4 become 2 0 2.
void cap(int32_t* counts, const float* log_probs, int slots, int room, Arena& arena);

}  // namespace sd
