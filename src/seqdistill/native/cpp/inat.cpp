// Iterative refinement (models/nonautoregressive/inat.py): a decoder that reads its own last output.
#include "lengths.h"

namespace sd {
namespace {

// The first iteration reads copies of the source, every later one the canvas.
void refine_inat(const Work& work, Canvas& canvas, int step) {
  Run run = whole_run(work, canvas);
  if (step == 0) {
    run.states = copies_of_sources(work, run);
    run_decoder_on_vectors(work, run);
  } else {
    run_decoder(work, run);
  }
  write_all(work, run, canvas);
}

constexpr Refiner REFINER = {true, false, likely_lengths, refine_inat};

void decode_inat(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  refine(*static_cast<const Refined*>(model.parts), REFINER, batch, found, arena);
}

}  // namespace

const Family INAT = {"inat", build_with_lengths, decode_inat, nullptr, MOST_LENGTHS};

}  // namespace sd
