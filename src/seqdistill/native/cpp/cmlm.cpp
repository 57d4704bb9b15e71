// Conditional masked language model, decoded by mask-predict (models/nonautoregressive/cmlm.py).
#include "lengths.h"

namespace sd {
namespace {

// Whether word i of a row is one of its `number` least probable; ties go left.
bool is_least(const float* log_probs, int length, int i, int number) {
  int before = 0;
  for (int j = 0; j < length; ++j) before += log_probs[j] < log_probs[i] || (log_probs[j] == log_probs[i] && j < i);
  return before < number;
}

// Of n words the floor(n * (iterations - step) / iterations) least probable are masked, so all in step 0, and predicted
// again given the others. A row with nothing to mask takes no part.
void refine_cmlm(const Work& work, Canvas& canvas, int step) {
  Arena& arena = work.arena;
  const size_t total = size_t(canvas.total()), most = size_t(canvas.rows);
  int32_t *starts = arena.zeros<int32_t>(most + 1), *sentences = arena.array<int32_t>(most);
  int32_t* tokens = arena.array<int32_t>(total);
  int32_t *run_places = arena.array<int32_t>(total), *places = arena.array<int32_t>(total);
  int rows = 0, end = 0, masked = 0;
  for (int row = 0; row < canvas.rows; ++row) {
    const int first = canvas.starts[row], length = canvas.length(row);
    const int number = int(int64_t(length) * (work.iterations - step) / work.iterations);
    if (!number) continue;
    for (int i = 0; i < length; ++i, ++end) {
      const bool mask = is_least(canvas.log_probs + first, length, i, number);
      tokens[end] = mask ? work.model.ids.mask : canvas.tokens[first + i];
      if (!mask) continue;
      run_places[masked] = end;
      places[masked++] = first + i;
    }
    sentences[rows++] = canvas.candidates[row] / work.beam;
    starts[rows] = end;
    ++canvas.passes[row];
  }
  if (!rows) return;
  Run run = {{starts, rows}, sentences, tokens, nullptr};
  run_decoder(work, run);
  write_words(work, run, run_places, canvas, places, masked);
}

constexpr Refiner REFINER = {false, true, likely_lengths, refine_cmlm};

void decode_cmlm(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  refine(*static_cast<const Refined*>(model.parts), REFINER, batch, found, arena);
}

}  // namespace

const Family CMLM = {"cmlm", build_with_lengths, decode_cmlm, nullptr, MOST_LENGTHS};

}  // namespace sd
