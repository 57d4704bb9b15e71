// The output layer of decoders that write many places at once: the best word of each and its log-probability.
#pragma once
#include "vocabulary.h"

namespace sd {

// The output layer with -infinity as the bias of ids that are not written: they have no probability.
Linear without(const Linear& output, const int32_t* ids, int count, Arena& arena);

// The words that the sentences of a call may be made of: those of each one's shortlist, or all.
struct WordLists {
  Vocabulary all;
  const Vocabulary* own;  // of each sentence; nullptr: no shortlists

  const Vocabulary& of(int sentence) const { return own ? own[sentence] : all; }
};

// A list without any word that has a probability is none: then all may come. `count` lists.
WordLists word_lists(const SpecialIds& special, const Linear& output, const SdLists& lists, int count, Arena& arena);

// words[row] = the most probable word given a row of states, of equal ones the lowest id; log_probs[row] = its
// log-probability, where log_probs is not nullptr. `sentences` has the sentence of each row; those of one sentence
// follow each other.
void most_probable(const WordLists& lists, const int32_t* sentences, const float* states, int rows, int32_t* words,
                   float* log_probs, Arena& arena);

// The same where `penalty` (nats) is taken from the log-probability of EOS before words are compared.
void most_probable_but_eos(float penalty, const WordLists& lists, const int32_t* sentences, const float* states,
                           int rows, int32_t* words, float* log_probs, Arena& arena);

}  // namespace sd
