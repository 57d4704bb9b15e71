// Insertion Transformer (models/nonautoregressive/insertion.py): words are inserted into every gap at once.
#include "refinement.h"

namespace sd {
namespace {

const void* build_inst(const Parts& parts, const Model& model) {
  Refined* refined = refined_of(parts, model, model.ids.never_written);
  refined->slot = parts.linear("slot", refined->dim, 2 * refined->dim);
  return refined;
}

// One decoder run: a word into every slot that does not predict its end (EOS); if not all fit, the most probable.
void refine_inst(const Work& work, Canvas& canvas, int) {
  const Refined& model = work.model;
  Arena& arena = work.arena;
  Run run = bracketed_run(work, canvas, all_rows(canvas, arena), canvas.rows);
  run_decoder(work, run);
  const int slots = canvas.slots();
  float* hidden = of_slots(model.slot, run, model.dim, arena);
  int32_t* words = arena.array<int32_t>(size_t(slots));
  float* log_probs = arena.array<float>(size_t(slots));
  most_probable_but_eos(work.penalty, work.words, sentences_of_slots(run, arena), hidden, slots, words, log_probs,
                        arena);
  int32_t* counts = arena.array<int32_t>(size_t(slots));
  for (int slot = 0; slot < slots; ++slot) counts[slot] = words[slot] != model.ids.eos;
  for (int row = 0; row < canvas.rows; ++row) {
    const int first = canvas.first_slot(row), length = canvas.length(row);
    cap(counts + first, log_probs + first, length + 1, canvas.limits[row] - length, arena);
  }
  insert_masks(canvas, counts, model.ids.mask);
  // The masks stand in the order of the slots that they were inserted into.
  for (int slot = 0, place = 0; slot < slots; ++slot) {
    if (!counts[slot]) continue;
    while (canvas.tokens[place] != model.ids.mask) ++place;
    canvas.tokens[place] = words[slot];
    canvas.log_probs[place] = log_probs[slot];
  }
}

constexpr Refiner REFINER = {true, false, nullptr, refine_inst};

void decode_inst(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  refine(*static_cast<const Refined*>(model.parts), REFINER, batch, found, arena);
}

}  // namespace

const Family INST = {"inst", build_inst, decode_inst, nullptr, 1};

}  // namespace sd
