// Levenshtein Transformer (models/nonautoregressive/levenshtein.py): deletes words, inserts placeholders, fills them.
#include "elementwise.h"
#include "refinement.h"

namespace sd {
namespace {

constexpr int CLASSES = 256;  // 0 .. 255 placeholders go between two neighbours

const void* build_levt(const Parts& parts, const Model& model) {
  Refined* refined = refined_of(parts, model, model.ids.no_words);
  refined->deletion = parts.linear("deletion", 2, refined->dim);
  refined->placeholders = parts.linear("placeholders", CLASSES, 2 * refined->dim);
  return refined;
}

// Each of the three runs is of the rows that it can concern: `rows` becomes those for which `concerns(row)`.
template <class Concerns>
int chosen_rows(const Canvas& canvas, int32_t* rows, Concerns concerns) {
  int count = 0;
  for (int row = 0; row < canvas.rows; ++row)
    if (concerns(row)) rows[count++] = row;
  return count;
}

// Deletes what its head says, in rows that have words.
void delete_words(const Work& work, Canvas& canvas) {
  Arena& arena = work.arena;
  int32_t* rows = arena.array<int32_t>(size_t(canvas.rows));
  const int count = chosen_rows(canvas, rows, [&](int row) { return canvas.length(row) > 0; });
  if (!count) return;
  Run run = bracketed_run(work, canvas, rows, count);
  run_decoder(work, run);
  float* logits = arena.array<float>(size_t(run.total()) * 2);
  linear(work.model.deletion, run.states, run.total(), work.model.dim, logits, 2, arena);
  int32_t* keep = arena.array<int32_t>(size_t(canvas.total()));
  // Rows that were left out have no tokens, so the kept ones follow each other as in the canvas.
  for (int i = 0, token = 0; i < count; ++i)
    for (int place = run.rows.first(i) + 1; place < run.rows.starts[i + 1] - 1; ++place)
      keep[token++] = logits[2 * place] >= logits[2 * place + 1];
  keep_tokens(canvas, keep);
}

// Inserts as many MASK into each slot as its head says, in rows that have room; `penalty` is taken from the
// log-probability of none.
void insert_placeholders(const Work& work, Canvas& canvas) {
  Arena& arena = work.arena;
  int32_t* rows = arena.array<int32_t>(size_t(canvas.rows));
  const int count = chosen_rows(canvas, rows, [&](int row) { return canvas.limits[row] > canvas.length(row); });
  if (!count) return;
  Run run = bracketed_run(work, canvas, rows, count);
  run_decoder(work, run);
  float* logits = of_slots(work.model.placeholders, run, work.model.dim, arena);
  int32_t* counts = arena.zeros<int32_t>(size_t(canvas.slots()));
  float* log_probs = arena.array<float>(size_t(canvas.slots()));
  for (int i = 0; i < count; ++i) {
    const int row = rows[i], first = canvas.first_slot(row), slots = canvas.length(row) + 1;
    for (int slot = first; slot < first + slots; ++slot, logits += CLASSES) {
      const float total = log_sum_exp(logits, CLASSES);
      logits[0] -= work.penalty;
      counts[slot] = argmax(logits, CLASSES);
      log_probs[slot] = logits[counts[slot]] - total;
    }
    cap(counts + first, log_probs + first, slots, canvas.limits[row] - canvas.length(row), arena);
  }
  insert_masks(canvas, counts, work.model.ids.mask);
}

// Writes the most probable word over every MASK.
void fill_placeholders(const Work& work, Canvas& canvas) {
  Arena& arena = work.arena;
  int32_t* rows = arena.array<int32_t>(size_t(canvas.rows));
  int32_t *run_places = arena.array<int32_t>(size_t(canvas.total())),
          *places = arena.array<int32_t>(size_t(canvas.total()));
  int count = 0, masks = 0, end = 0;  // `end`: places of the run so far
  for (int row = 0; row < canvas.rows; ++row) {
    const int before = masks, first = canvas.starts[row], length = canvas.length(row);
    for (int i = 0; i < length; ++i) {
      if (canvas.tokens[first + i] != work.model.ids.mask) continue;
      run_places[masks] = end + 1 + i;
      places[masks++] = first + i;
    }
    if (masks == before) continue;
    rows[count++] = row;
    end += length + 2;
  }
  if (!count) return;
  Run run = bracketed_run(work, canvas, rows, count);
  run_decoder(work, run);
  write_words(work, run, run_places, canvas, places, masks);
}

void refine_levt(const Work& work, Canvas& canvas, int) {
  delete_words(work, canvas);
  insert_placeholders(work, canvas);
  fill_placeholders(work, canvas);
}

constexpr Refiner REFINER = {true, false, nullptr, refine_levt};

void decode_levt(const Model& model, const Batch& batch, Found* found, Arena& arena) {
  refine(*static_cast<const Refined*>(model.parts), REFINER, batch, found, arena);
}

}  // namespace

const Family LEVT = {"levt", build_levt, decode_levt, nullptr, 1};

}  // namespace sd
