// Logits of many rows, a few at a time.
#pragma once
#include "arena.h"
#include "linear.h"

namespace sd {

// Calls use(row, logits) for every row of states, [rows][output.inputs]; `use` may write over the logits.
//
// The output layer is read once for ROWS of them; the logits of more would not stay in the cache.
template <class Use>
void each_logits(const Linear& output, const float* states, int rows, Arena& arena, Use use) {
  constexpr int ROWS = 32;
  Arena::Mark before = arena.mark();
  const size_t outputs = size_t(output.outputs), inputs = size_t(output.inputs);
  float* logits = arena.array<float>(size_t(rows < ROWS ? rows : ROWS) * outputs);
  for (int first = 0; first < rows; first += ROWS) {
    int count = rows - first < ROWS ? rows - first : ROWS;
    linear(output, states + size_t(first) * inputs, count, output.inputs, logits, output.outputs, arena);
    for (int i = 0; i < count; ++i) use(first + i, logits + size_t(i) * outputs);
  }
  arena.release(before);
}

}  // namespace sd
