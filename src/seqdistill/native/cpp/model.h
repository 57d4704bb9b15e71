// An exported model: what every family needs of it, and the reader that finds its parts by name.
#pragma once
#include "api.h"
#include "arena.h"
#include "failure.h"
#include "linear.h"
#include "ragged.h"

namespace sd {

struct Ids {
  const int32_t* values;
  int count;

  bool hold(int id) const {
    for (int i = 0; i < count; ++i)
      if (values[i] == id) return true;
    return false;
  }
};

// Ids with a meaning of their own; -1 where the vocabulary has none.
struct SpecialIds {
  int source_eos, eos, pad, bos, mask;
  Ids before_words;   // what a decoder reads before the first word, in order
  Ids never_written;  // ascending
  Ids no_words;       // never_written and EOS, for models that find the length in another way
};

struct Family;

struct Model {
  Arena arena;  // holds all that a pointer below leads to, apart from the tensors themselves
  const Family* family;
  const void* parts;  // what the family's `build` made
  int source_vocab, target_vocab;
  SpecialIds ids;
};

// Finds tensors and settings while a model is built, and refuses the model where one is missing or of another shape.
//
//   Parts layer = parts.in("encoder.layers", 0);
//   Linear inner = layer.linear("feed_forward.inner", 1024, 256);  // encoder.layers.0.feed_forward.inner.{weight,bias}
class Parts {
 public:
  Arena& arena;
  Failure& failure;
  int precision;  // of all packed matrices

  Parts(Arena& arena, Failure& failure, const char* settings, const SdTensor* tensors, int count);

  // The same, with the names of tensors behind a prefix.
  Parts in(const char* name) const;
  Parts in(const char* name, int number) const;

  bool has(const char* tensor) const;
  const float* vector(const char* name, int size) const;
  Linear matrix(const char* name, int outputs, int inputs) const;  // without a bias
  Linear linear(const char* name, int outputs, int inputs) const;  // NAME.weight with NAME.bias

  // Settings; whole numbers lie in least .. most.
  const char* text(const char* key, char* value, int size) const;
  int number(const char* key, int least, int most) const;
  int number(const char* key, int least, int most, int absent) const;
  double real(const char* key) const;
  bool flag(const char* key) const;
  Ids ids(const char* key, int most) const;                                // none where the setting is absent or empty
  int choice(const char* key, const char* const* names, int count) const;  // the place of the value among the names
  bool given(const char* key) const;

 private:
  const char* settings;
  const SdTensor* tensors;
  int count;
  char prefix[96];

  const SdTensor* find(const char* name) const;
  const SdTensor& found(const char* name, int kind, int rows, int columns) const;
};

// A request whose ids, lists and numbers have been checked.
struct Batch {
  Ragged sources;
  const int32_t* source_tokens;  // [sources.rows()], every source ending with EOS
  SdLists prefixes, allowed, shortlists;
  const int32_t* limits;  // of each output, EOS included
  int beam, n_best, no_repeat_ngram, min_length, iterations;
  bool scores;
  double length_penalty, penalty;

  static Ids list(const SdLists& lists, int sentence) {
    if (!lists.values) return {nullptr, 0};
    int64_t first = sentence ? lists.ends[sentence - 1] : 0;
    return {lists.values + first, int(lists.ends[sentence] - first)};
  }
};

struct Hypothesis {
  const int32_t* tokens;  // without EOS
  int length;
  double log_prob, score;
  int passes, iterations;
};

// The best hypotheses of a sentence, best first.
struct Found {
  Hypothesis* hypotheses;
  int count;
};

// A kind of model. Both functions may refuse or run out of memory by a jump.
struct Family {
  const char* name;
  const void* (*build)(const Parts& parts, const Model& model);
  void (*decode)(const Model& model, const Batch& batch, Found* found, Arena& arena);  // found: one of each sentence
  // Log-probabilities of given targets, one of each; nullptr: the family has no such.
  void (*score)(const Model& model, const Batch& batch, const SdLists& targets, double* log_probs, Arena& arena);
  int most_beam;  // 0: any
};

// Each is defined in the file of its name.
extern const Family TRANSFORMER, MIXTURE, HYBRID, RNN;
extern const Family NAT, INAT, CMLM, INST, LEVT;

// A model of its settings and tensors, in its own arena.
void build(Model& model, const char* settings, const SdTensor* tensors, int count, Failure& failure);

}  // namespace sd
