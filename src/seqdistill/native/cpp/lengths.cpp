#include "lengths.h"

#include <math.h>

#include "elementwise.h"

namespace sd {
namespace {

constexpr int CLASSES = 256;

// Means of the states of each sentence, [sentences, dim].
float* means(const Work& work) {
  const size_t dim = size_t(work.model.dim);
  float* means = work.arena.zeros<float>(size_t(work.sources.count) * dim);
  for (int i = 0; i < work.sources.count; ++i) {
    float* mean = means + size_t(i) * dim;
    const float* states = work.states + size_t(work.sources.first(i)) * dim;
    for (int row = 0; row < work.sources.length(i); ++row) add(mean, states + size_t(row) * dim, dim);
    scale(mean, 1.0f / float(work.sources.length(i)), dim);
  }
  return means;
}

// Words of a source, its EOS left out.
int words_of(const Work& work, int sentence) { return work.sources.length(sentence) - 1; }

}  // namespace

const void* build_with_lengths(const Parts& parts, const Model& model) {
  Refined* refined = refined_of(parts, model, model.ids.no_words);
  refined->length = parts.linear("length", CLASSES, refined->dim);
  const char* const kinds[] = {"absolute", "offset"};
  refined->offsets = parts.choice("length", kinds, 2);
  return refined;
}

const int32_t* likely_lengths(const Work& work) {
  const int sentences = work.sources.count;
  int32_t* lengths = work.arena.array<int32_t>(size_t(sentences) * size_t(work.beam));
  Arena::Mark mark = work.arena.mark();
  float* logits = work.arena.array<float>(size_t(sentences) * CLASSES);
  linear(work.model.length, means(work), sentences, work.model.dim, logits, CLASSES, work.arena);
  for (int i = 0; i < sentences; ++i, logits += CLASSES) {
    // A source of 10 words, offsets: class 0 is the length 10 - 128, so class 128 is 10 and class 131 is 13.
    const int shift = work.model.offsets ? words_of(work, i) - CLASSES / 2 : 0;
    for (int length = 0; length + shift < 1 && length < CLASSES; ++length) logits[length] = -__builtin_inff();
    for (int candidate = 0; candidate < work.beam; ++candidate) {
      const int best = argmax(logits, CLASSES);
      // Numbers that overflowed to NaN have no greatest one: still a length of 1 or more.
      lengths[i * work.beam + candidate] = best + shift > 1 ? best + shift : 1;
      logits[best] = -__builtin_inff();
    }
  }
  work.arena.release(mark);
  return lengths;
}

float* copies_of_sources(const Work& work, const Run& run) {
  const int total = run.total(), dim = work.model.dim;
  float* vectors = work.arena.array<float>(size_t(total) * size_t(dim));
  int32_t* tokens = work.arena.array<int32_t>(size_t(total));
  for (int row = 0; row < run.rows.count; ++row) {
    const int sentence = run.sentences[row], length = run.rows.length(row);
    const int32_t* source = work.source_tokens + work.sources.first(sentence);
    // In whole numbers: round(a / b) is floor((2a + b) / 2b).
    const int64_t last_source = words_of(work, sentence) > 1 ? words_of(work, sentence) - 1 : 0;
    const int64_t last_target = length > 1 ? length - 1 : 1;
    for (int i = 0; i < length; ++i)
      tokens[run.rows.first(row) + i] = source[(2 * i * last_source + last_target) / (2 * last_target)];
  }
  embed(work.model.source_embedding, tokens, total, sqrtf(float(dim)), vectors, dim);
  return vectors;
}

void write_all(const Work& work, const Run& run, Canvas& canvas) {
  most_probable(work.words, sentences_of_places(run, work.arena), run.states, run.total(), canvas.tokens,
                work.scores ? canvas.log_probs : nullptr, work.arena);
}

}  // namespace sd
