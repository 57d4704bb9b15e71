// What may be written next, and how probable it is: the output layer under the rules of a request
// (decoding/processors.py).
#pragma once
#include "paths.h"
#include "search.h"
#include "vocabulary.h"

namespace sd {

// A hypothesis with one more token.
struct Continuation {
  double log_prob;  // of all its tokens
  int32_t parent;   // the row it continues
  int32_t token;
};

// The best continuations of a sentence, best first; of equal ones the first that came.
struct Continuations {
  Continuation* best;
  int count, room;

  bool want(double log_prob) const { return count < room || log_prob > best[count - 1].log_prob; }

  void add(const Continuation& each) {
    if (!want(each.log_prob)) return;
    int at = count < room ? count++ : room - 1;
    for (; at > 0 && best[at - 1].log_prob < each.log_prob; --at) best[at] = best[at - 1];
    best[at] = each;
  }
};

// What a request lets its outputs be made of.
struct Choices {
  const SpecialIds& ids;
  const Batch& batch;
  Vocabulary all;
  const Vocabulary* own;  // of each sentence, where the request has lists; otherwise nullptr
};
Choices choices_of(const Model& model, const Linear& output, const Batch& batch, Arena& arena);

// Adds the best continuations of every live sentence to `lists`, one of each. Rows have written `written` at these
// log-probabilities; `hidden` predicts their next token.
//
// Probabilities are over what may be written: those that may follow a row sum to 1. Where the rules leave nothing, EOS
// may come. With a beam of 1 whose scores nobody wants, the most probable word is taken without its probability.
void find_continuations(const Choices& choices, const Live& live, const float* hidden, const double* log_probs,
                        const Paths& written, Continuations* lists, Arena& arena);

}  // namespace sd
