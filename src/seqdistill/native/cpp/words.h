// The output layer of decoders that write many places at once: the best word of each and its log-probability.
#pragma once
#include "arena.h"
#include "linear.h"

namespace sd {

// The output layer with -infinity as the bias of ids that are not written: they have no probability.
Linear without(const Linear& output, const int32_t* ids, int count, Arena& arena);

// words[row] = the most probable word given a row of states, of equal ones the lowest id; log_probs[row] = its
// log-probability, where log_probs is not nullptr.
void most_probable(const Linear& output, const float* states, int rows, int stride, int32_t* words, float* log_probs,
                   Arena& arena);

// The same where `penalty` (nats) is taken from the log-probability of the word `penalised` before words are compared.
void most_probable_but(int penalised, float penalty, const Linear& output, const float* states, int rows, int stride,
                       int32_t* words, float* log_probs, Arena& arena);

}  // namespace sd
