#include "words.h"

#include "elementwise.h"

namespace sd {
namespace {

// Rows whose logits are in memory at once: about half a megabyte, which stays in the second cache.
int rows_at_once(const Linear& output) {
  const int rows = (1 << 17) / output.outputs;
  return rows < 1 ? 1 : rows;
}

// Calls of(logits, row) for every row; only the logits of some rows are in memory at a time, and `of` may change them.
template <class Of>
void for_each_row_of_logits(const Linear& output, const float* states, int rows, int stride, Arena& arena, Of of) {
  Arena::Mark before = arena.mark();
  const int most = rows_at_once(output);
  float* logits = arena.array<float>(size_t(most < rows ? most : rows) * size_t(output.outputs));
  for (int first = 0; first < rows; first += most) {
    const int count = rows - first < most ? rows - first : most;
    linear(output, states + size_t(first) * size_t(stride), count, stride, logits, output.outputs, arena);
    for (int row = 0; row < count; ++row) of(logits + size_t(row) * size_t(output.outputs), first + row);
  }
  arena.release(before);
}

}  // namespace

Linear without(const Linear& output, const int32_t* ids, int count, Arena& arena) {
  float* bias = arena.zeros<float>(size_t(output.outputs));
  if (output.bias) memcpy(bias, output.bias, sizeof(float) * size_t(output.outputs));
  for (int i = 0; i < count; ++i)
    if (ids[i] < output.outputs) bias[ids[i]] = -__builtin_inff();
  Linear restricted = output;
  restricted.bias = bias;
  return restricted;
}

void most_probable(const Linear& output, const float* states, int rows, int stride, int32_t* words, float* log_probs,
                   Arena& arena) {
  if (!log_probs) {
    Arena::Mark before = arena.mark();
    linear_argmax(output, quantize(output.precision, states, rows, output.inputs, stride, arena), words, nullptr);
    arena.release(before);
    return;
  }
  for_each_row_of_logits(output, states, rows, stride, arena, [&](float* logits, int row) {
    words[row] = argmax(logits, output.outputs);
    log_probs[row] = logits[words[row]] - log_sum_exp(logits, output.outputs);
  });
}

void most_probable_but(int penalised, float penalty, const Linear& output, const float* states, int rows, int stride,
                       int32_t* words, float* log_probs, Arena& arena) {
  for_each_row_of_logits(output, states, rows, stride, arena, [&](float* logits, int row) {
    const float total = log_sum_exp(logits, output.outputs);
    logits[penalised] -= penalty;
    words[row] = argmax(logits, output.outputs);
    log_probs[row] = logits[words[row]] - total;
  });
}

}  // namespace sd
