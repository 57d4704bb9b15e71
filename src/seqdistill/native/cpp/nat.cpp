// Vanilla non-autoregressive Transformer (models/nonautoregressive/nat.py): a length, then every word at once.
#include "lengths.h"

namespace sd {
namespace {

// The most probable word at every position, whatever the canvas holds: so further iterations need no decoder run.
void refine_nat(const Work& work, Canvas& canvas, int step) {
  Run run = whole_run(work, canvas);
  if (step > 0) return;
  run.states = copies_of_sources(work, run);
  run_decoder_on_vectors(work, run);
  write_all(work, run, canvas);
}

constexpr Refiner REFINER = {true, false, likely_lengths, refine_nat};

void decode_nat(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  refine(*static_cast<const Refined*>(model.parts), REFINER, batch, found, arena);
}

}  // namespace

const Family NAT = {"nat", build_with_lengths, decode_nat, nullptr, MOST_LENGTHS};

}  // namespace sd
