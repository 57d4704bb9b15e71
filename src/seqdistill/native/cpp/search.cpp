#include "search.h"

#include <math.h>

#include "choices.h"

namespace sd {
namespace {

// A search in its course. Row i of all that is of rows is one live hypothesis; sentences leave, the others move up.
struct Search {
  const Model& model;
  const Batch& batch;
  Found* found;
  Arena& arena;

  Paths written;
  int32_t *starts, *sentences;  // of `live`
  int32_t* tokens;              // the last of each row
  int32_t* parents;             // the row each one continues
  double* log_probs;            // of each row
  Continuations* lists;         // of each live sentence
  int32_t* ended;               // [sentences of the batch]: hypotheses that have ended, also those not among the best
  int live_sentences;

  Search(const Model& model, const Batch& batch, Found* found, Arena& arena)
      : model(model), batch(batch), found(found), arena(arena), written(batch.sources.count * batch.beam, arena) {
    int count = batch.sources.count;
    size_t size = size_t(count), rows = size * size_t(batch.beam), room = 2 * size_t(batch.beam);
    starts = arena.array<int32_t>(size + 1), sentences = arena.array<int32_t>(size);
    tokens = arena.array<int32_t>(rows), parents = arena.array<int32_t>(rows);
    log_probs = arena.zeros<double>(rows);
    lists = arena.array<Continuations>(size);
    ended = arena.zeros<int32_t>(size);
    Continuation* continuations = arena.array<Continuation>(size * room);
    Hypothesis* hypotheses = arena.array<Hypothesis>(size * size_t(batch.n_best));
    for (int i = 0; i < count; ++i) {
      starts[i] = sentences[i] = i;
      lists[i] = {continuations + size_t(i) * room, 0, int(room)};
      found[i] = {hypotheses + size_t(i) * size_t(batch.n_best), 0};
    }
    starts[count] = count;
    live_sentences = count;
  }

  Live live() const { return {{starts, live_sentences}, sentences}; }
  int rows() const { return starts[live_sentences]; }
  double score(double log_prob, int length) const { return log_prob / pow(length, batch.length_penalty); }
};

// Puts a hypothesis that has ended among the n best of its sentence, after those of equal score.
void collect(Search& search, int sentence, const Continuation& last) {
  ++search.ended[sentence];
  Found& found = search.found[sentence];
  int length = search.written.length, n_best = search.batch.n_best;
  double score = search.score(last.log_prob, length + 1);
  if (found.count == n_best && !(score > found.hypotheses[n_best - 1].score)) return;
  int32_t* tokens = search.arena.array<int32_t>(size_t(length) + 1);
  memcpy(tokens, search.written.row(last.parent), sizeof(int32_t) * size_t(length));
  tokens[length] = last.token;
  int at = found.count < n_best ? found.count++ : n_best - 1;
  for (; at > 0 && found.hypotheses[at - 1].score < score; --at) found.hypotheses[at] = found.hypotheses[at - 1];
  int words = last.token == search.model.ids.eos ? length : length + 1;
  found.hypotheses[at] = {tokens, words, last.log_prob, score, 0, 0};
}

// Collects what ends now: of the first `beam` continuations those with EOS, and at the limit all.
void collect_ended(Search& search, int sentence, const Continuations& list) {
  bool at_limit = search.written.length + 1 == search.batch.limits[sentence];
  for (int k = 0; k < list.count && k < search.batch.beam; ++k)
    if (at_limit || list.best[k].token == search.model.ids.eos) collect(search, sentence, list.best[k]);
}

// Whether a sentence stops whose best live hypothesis has this log-probability.
bool is_done(const Search& search, int sentence, double best) {
  int length = search.written.length + 1, limit = search.batch.limits[sentence];
  if (length >= limit || search.ended[sentence] >= search.batch.beam) return true;
  // A log-probability only falls: l / t^a is highest at the next length t for a < 0, at the limit for a > 0.
  const Found& found = search.found[sentence];
  if (found.count < search.batch.n_best) return false;
  double bound = fmax(search.score(best, length + 1), search.score(best, limit));
  return found.hypotheses[search.batch.n_best - 1].score >= bound;
}

// Makes the best `beam` continuations without EOS the live hypotheses, or drops the sentence. Returns whether any row
// has moved, so that the model's state has to follow.
bool advance(Search& search) {
  int kept = 0, row = 0, before = search.rows(), eos = search.model.ids.eos;
  bool moved = false;
  for (int i = 0; i < search.live_sentences; ++i) {
    int sentence = search.sentences[i], first = row;
    Continuations& list = search.lists[i];
    collect_ended(search, sentence, list);
    for (int k = 0; k < list.count && row - first < search.batch.beam; ++k) {
      const Continuation& next = list.best[k];
      if (next.token == eos) continue;
      if (row == first && is_done(search, sentence, next.log_prob)) break;
      moved |= next.parent != row;
      search.parents[row] = next.parent, search.tokens[row] = next.token, search.log_probs[row++] = next.log_prob;
    }
    if (row > first) search.sentences[kept] = sentence, search.starts[++kept] = row;
    list.count = 0;
  }
  search.live_sentences = kept;
  return moved || row != before;
}

}  // namespace

void search(const Model& model, const Writer& writer, const Linear& output, const Batch& batch, Found* found,
            Arena& arena) {
  Search search(model, batch, found, arena);
  Choices choices = choices_of(model, output, batch, arena);
  void* state = writer.begin(model.parts, batch, arena);
  float* hidden = arena.array<float>(size_t(batch.sources.count) * size_t(batch.beam) * size_t(output.inputs));
  // The decoder's prompt and start; what the prompt's states predict is not looked at.
  Ids before = model.ids.before_words;
  for (int i = 0; i < before.count; ++i) {
    for (int row = 0; row < search.rows(); ++row) search.tokens[row] = before.values[i];
    writer.step(model.parts, state, search.live(), search.tokens, hidden, arena);
  }
  for (;;) {
    find_continuations(choices, search.live(), hidden, search.log_probs, search.written, search.lists, arena);
    if (advance(search)) {
      search.written.select(search.parents, search.rows());
      writer.select(state, search.parents, search.rows());
    }
    if (!search.live_sentences) return;
    search.written.append(search.rows(), arena, [&](int row) { return search.tokens[row]; });
    writer.step(model.parts, state, search.live(), search.tokens, hidden, arena);
  }
}

}  // namespace sd
