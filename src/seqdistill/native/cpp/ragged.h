// Sentences of a batch one after the other, without padding.
#pragma once
#include <stdint.h>

namespace sd {

// Rows starts[i] .. starts[i + 1] are those of sentence i. Sentences of 2 and 3 tokens: count 2, starts 0 2 5.
struct Ragged {
  const int32_t* starts;
  int count;

  int rows() const { return starts[count]; }
  int first(int sentence) const { return starts[sentence]; }
  int length(int sentence) const { return starts[sentence + 1] - starts[sentence]; }
};

}  // namespace sd
