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
void for_each_row_of_logits(const Linear& output, const float* states, int rows, Arena& arena, Of of) {
  Arena::Mark before = arena.mark();
  const int most = rows_at_once(output);
  float* logits = arena.array<float>(size_t(most < rows ? most : rows) * size_t(output.outputs));
  for (int first = 0; first < rows; first += most) {
    const int count = rows - first < most ? rows - first : most;
    linear(output, states + size_t(first) * size_t(output.inputs), count, output.inputs, logits, output.outputs, arena);
    for (int row = 0; row < count; ++row) of(logits + size_t(row) * size_t(output.outputs), first + row);
  }
  arena.release(before);
}

// Calls of(vocabulary, first, count) for the rows that are made of the same words: without shortlists for all at once,
// as the output layer is then read once for all of them.
template <class Of>
void for_each_vocabulary(const WordLists& lists, const int32_t* sentences, int rows, Of of) {
  for (int first = 0, last; first < rows; first = last) {
    for (last = lists.own ? first + 1 : rows; last < rows && sentences[last] == sentences[first];) ++last;
    of(lists.of(sentences[first]), first, last - first);
  }
}

bool has_words(const Vocabulary& words) {
  for (int place = 0; place < words.output.outputs; ++place)
    if (words.output.bias[place] > -__builtin_inff()) return true;
  return false;
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

WordLists word_lists(const SpecialIds& special, const Linear& output, const SdLists& lists, int count, Arena& arena) {
  WordLists found = {all_words(special, output), nullptr};
  if (!lists.values) return found;
  Vocabulary* own = arena.array<Vocabulary>(size_t(count));
  for (int i = 0; i < count; ++i) {
    own[i] = listed_words(special, output, Batch::list(lists, i), arena);
    if (!has_words(own[i])) own[i] = found.all;
  }
  found.own = own;
  return found;
}

void most_probable(const WordLists& lists, const int32_t* sentences, const float* states, int rows, int32_t* words,
                   float* log_probs, Arena& arena) {
  for_each_vocabulary(lists, sentences, rows, [&](const Vocabulary& vocabulary, int first, int count) {
    const Linear& output = vocabulary.output;
    const float* own = states + size_t(first) * size_t(output.inputs);
    Arena::Mark before = arena.mark();
    if (!log_probs) {
      const Quantized x = quantize(output.precision, own, count, output.inputs, output.inputs, arena);
      linear_argmax(output, x, words + first, nullptr);
    } else {
      for_each_row_of_logits(output, own, count, arena, [&](float* logits, int row) {
        const int best = argmax(logits, output.outputs);
        words[first + row] = best;
        log_probs[first + row] = logits[best] - log_sum_exp(logits, output.outputs);
      });
    }
    arena.release(before);
    for (int row = first; row < first + count; ++row) words[row] = vocabulary.id(words[row]);
  });
}

void most_probable_but_eos(float penalty, const WordLists& lists, const int32_t* sentences, const float* states,
                           int rows, int32_t* words, float* log_probs, Arena& arena) {
  for_each_vocabulary(lists, sentences, rows, [&](const Vocabulary& vocabulary, int first, int count) {
    const Linear& output = vocabulary.output;
    const float* own = states + size_t(first) * size_t(output.inputs);
    for_each_row_of_logits(output, own, count, arena, [&](float* logits, int row) {
      const float total = log_sum_exp(logits, output.outputs);
      logits[vocabulary.eos] -= penalty;
      const int best = argmax(logits, output.outputs);
      words[first + row] = vocabulary.id(best);
      log_probs[first + row] = logits[best] - total;
    });
  });
}

}  // namespace sd
