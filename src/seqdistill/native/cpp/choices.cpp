#include "choices.h"

#include "logits.h"
#include "top.h"

namespace sd {
namespace {

constexpr int FREE = -1;  // stands for the token of a sentence whose prefix, if any, is written

// A step of all live rows.
struct Step {
  const Choices& choices;
  const Live& live;
  const double* log_probs;
  const Paths& written;
  Continuations* lists;
  int32_t* forced;    // [live sentences]: the next token of the prefix, or FREE
  int32_t* sentence;  // [rows]: place of the row's sentence among the live ones

  int number() const { return written.length; }
  const Batch& batch() const { return choices.batch; }
  bool free(int row) const { return forced[sentence[row]] == FREE; }
  bool measures() const { return batch().scores || batch().beam > 1; }
  bool has_rules() const {
    return number() < batch().min_length || (batch().no_repeat_ngram && number() >= batch().no_repeat_ngram);
  }
  int wanted() const { return batch().beam == 1 ? 1 : 2 * batch().beam; }  // of each row

  void add(int row, double log_prob, int token) const {
    lists[sentence[row]].add({log_probs[row] + log_prob, row, token});
  }
};

// Of rows first .. last.
void take_most_probable(const Step& step, const Vocabulary& words, const float* hidden, int first, int last,
                        Arena& arena) {
  Arena::Mark before = arena.mark();
  int rows = last - first, width = words.output.inputs;
  int32_t* best = arena.array<int32_t>(size_t(rows));
  float* logits = arena.array<float>(size_t(rows));
  const float* states = hidden + size_t(first) * size_t(width);
  linear_argmax(words.output, quantize(words.output.precision, states, rows, width, width, arena), best, logits);
  for (int i = 0; i < rows; ++i)
    if (step.free(first + i)) step.add(first + i, 0, words.id(logits[i] > -__builtin_inff() ? best[i] : words.eos));
  arena.release(before);
}

// No n tokens in a row are written twice (Paulus et al. 2018). With n = 2, after "a b c a" no b may follow: "a b" is
// there already.
void forbid_repeats(const int32_t* written, int length, int n, const Vocabulary& words, float* logits) {
  const int32_t* beginning = written + length - (n - 1);
  for (int i = 0; i + n <= length; ++i) {
    int place = words.place(written[i + n - 1]);
    if (place >= 0 && memcmp(written + i, beginning, sizeof(int32_t) * size_t(n - 1)) == 0)
      logits[place] = -__builtin_inff();
  }
}

// Adds the best continuations of a row; `ranked` has room for as many as are wanted.
void rank(const Step& step, const Vocabulary& words, int row, float* logits, Ranked* ranked, Arena& arena) {
  const Batch& batch = step.batch();
  if (step.number() < batch.min_length) logits[words.eos] = -__builtin_inff();
  if (batch.no_repeat_ngram && step.number() >= batch.no_repeat_ngram)
    forbid_repeats(step.written.row(row), step.number(), batch.no_repeat_ngram, words, logits);
  int count = top(logits, words.output.outputs, step.wanted(), ranked, arena);
  if (!count) return step.add(row, 0, step.choices.ids.eos);
  double left = step.measures() ? log_sum_exp(logits, words.output.outputs, ranked[0].value) : ranked[0].value;
  Continuations& list = step.lists[step.sentence[row]];
  for (int k = 0; k < count && list.want(step.log_probs[row] + (ranked[k].value - left)); ++k)
    step.add(row, ranked[k].value - left, words.id(ranked[k].place));
}

// Rows first .. last, whose sentences share `words`.
void choose(const Step& step, const Vocabulary& words, const float* hidden, int first, int last, Arena& arena) {
  if (!step.measures() && !step.has_rules()) return take_most_probable(step, words, hidden, first, last, arena);
  Arena::Mark before = arena.mark();
  Ranked* ranked = arena.array<Ranked>(size_t(step.wanted()));
  const float* states = hidden + size_t(first) * size_t(words.output.inputs);
  each_logits(words.output, states, last - first, arena, [&](int row, float* logits) {
    if (step.free(first + row)) rank(step, words, first + row, logits, ranked, arena);
  });
  arena.release(before);
}

}  // namespace

Choices choices_of(const Model& model, const Linear& output, const Batch& batch, Arena& arena) {
  // What is allowed is a rule, a shortlist only a guess at what will be written.
  const SdLists& lists = batch.allowed.values ? batch.allowed : batch.shortlists;
  Vocabulary* own = lists.values ? arena.array<Vocabulary>(size_t(batch.sources.count)) : nullptr;
  for (int i = 0; i < batch.sources.count && own; ++i)
    own[i] = listed_words(model.ids, output, Batch::list(lists, i), arena);
  return {model.ids, batch, all_words(model.ids, output), own};
}

void find_continuations(const Choices& choices, const Live& live, const float* hidden, const double* log_probs,
                        const Paths& written, Continuations* lists, Arena& arena) {
  Arena::Mark before = arena.mark();
  int sentences = live.rows.count, rows = live.rows.rows();
  Step step = {choices,
               live,
               log_probs,
               written,
               lists,
               arena.array<int32_t>(size_t(sentences)),
               arena.array<int32_t>(size_t(rows))};
  bool some_free = false;
  for (int i = 0; i < sentences; ++i) {
    Ids prefix = Batch::list(choices.batch.prefixes, live.sentences[i]);
    int token = step.forced[i] = step.number() < prefix.count ? prefix.values[step.number()] : FREE;
    some_free |= token == FREE;
    for (int row = live.rows.first(i); row < live.rows.starts[i + 1]; ++row) {
      step.sentence[row] = i;
      if (token != FREE) step.add(row, 0, token);  // what is forced has probability 1
    }
  }
  if (!choices.own && some_free) choose(step, choices.all, hidden, 0, rows, arena);
  for (int i = 0; i < sentences && choices.own; ++i)
    if (step.forced[i] == FREE)
      choose(step, choices.own[live.sentences[i]], hidden, live.rows.first(i), live.rows.starts[i + 1], arena);
  arena.release(before);
}

}  // namespace sd
