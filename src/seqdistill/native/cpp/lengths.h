// Models that predict a length before they write (nat, inat, cmlm), and the copies of the source that two of them read.
#pragma once
#include "refinement.h"

namespace sd {

// Most candidates of a sentence: of the 256 classes of a source without words, 127 are lengths of 1 or more.
constexpr int MOST_LENGTHS = 127;

// The parts of such a model.
const void* build_with_lengths(const Parts& parts, const Model& model);

// The `beam` most probable lengths of each sentence, 1 or more, best first. Lengths count no EOS, on either side.
const int32_t* likely_lengths(const Work& work);

// Word vectors of the source stretched to the length of each row, without positions: target position i of T copies
// source position round(i * (S - 1) / (T - 1)), halves rounded up; a target of one token copies position 0, an empty
// source's EOS is copied. Three words for five places: 0 1 1 2 2.
float* copies_of_sources(const Work& work, const Run& run);

// A pass over the whole canvas: the most probable word everywhere, given the run's states.
void write_all(const Work& work, const Run& run, Canvas& canvas);

}  // namespace sd
