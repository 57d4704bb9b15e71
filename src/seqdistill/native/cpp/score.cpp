#include "logits.h"
#include "search.h"
#include "top.h"

namespace sd {
namespace {

// log softmax(logits)[label]
double log_prob_of(const float* logits, int count, int label, Arena& arena) {
  Ranked best;
  return top(logits, count, 1, &best, arena) ? logits[label] - log_sum_exp(logits, count, best.value) : 0.0;
}

}  // namespace

void score(const Model& model, const Writer& writer, const Linear& output, const Batch& batch, const SdLists& targets,
           double* log_probs, Arena& arena) {
  size_t count = size_t(batch.sources.count);
  int32_t *starts = arena.array<int32_t>(count + 1), *sentences = arena.array<int32_t>(count);
  int32_t *tokens = arena.array<int32_t>(count), *parents = arena.array<int32_t>(count);
  for (int i = 0; i < batch.sources.count; ++i) starts[i] = sentences[i] = i, log_probs[i] = 0;
  starts[count] = int32_t(count);
  Live live = {{starts, int(count)}, sentences};
  float* hidden = arena.array<float>(count * size_t(output.inputs));
  void* state = writer.begin(model.parts, batch, arena);
  Ids before = model.ids.before_words;
  for (int i = 0; i < before.count; ++i) {
    for (int row = 0; row < live.rows.count; ++row) tokens[row] = before.values[i];
    writer.step(model.parts, state, live, tokens, hidden, arena);
  }
  for (int place = 0; live.rows.count; ++place) {
    each_logits(output, hidden, live.rows.count, arena, [&](int row, const float* logits) {
      Ids target = Batch::list(targets, sentences[row]);
      int label = place < target.count ? target.values[place] : model.ids.eos;
      log_probs[sentences[row]] += log_prob_of(logits, output.outputs, label, arena);
    });
    // Sentences whose EOS has been scored leave; a row is a sentence, so those that stay only move up.
    int kept = 0;
    for (int row = 0; row < live.rows.count; ++row) {
      Ids target = Batch::list(targets, sentences[row]);
      if (place >= target.count) continue;
      parents[kept] = row, tokens[kept] = target.values[place], sentences[kept++] = sentences[row];
    }
    if (kept < live.rows.count) writer.select(state, parents, kept);
    live.rows.count = kept;
    if (kept) writer.step(model.parts, state, live, tokens, hidden, arena);
  }
}

}  // namespace sd
