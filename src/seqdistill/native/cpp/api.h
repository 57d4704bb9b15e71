// The interface to other languages: plain C, called through ctypes.
//
// Every function that can fail returns 0 or a code below, and then writes a message of at most error_size bytes.
#pragma once
#include <stdint.h>

#define SD_EXPORT extern "C" __attribute__((visibility("default")))

enum { SD_OK = 0, SD_REFUSED = 1, SD_OUT_OF_MEMORY = 2 };

// A tensor of an exported model; its memory must stay as long as the model.
struct SdTensor {
  const char* name;
  int32_t kind;           // 0: floats as they are; 1: a matrix in the model's precision, packed as linear.h draws it
  int32_t rows, columns;  // of a vector 1 and its size; of a matrix its outputs and inputs, without padding
  const void* data;
  const float* scale;         // of int8 matrices only, padded as their rows
  const int32_t* correction;  // the same
};

// Lists of ids, one a sentence: list i is values[ends[i - 1] .. ends[i]), ends[-1] being 0. values == NULL: none given.
struct SdLists {
  const int32_t* values;
  const int64_t* ends;
};

struct SdRequest {
  int32_t sentences;
  SdLists sources;   // ending with EOS, so never empty
  SdLists prefixes;  // what each output begins with
  SdLists allowed;   // ids that each output may be made of; EOS always may
  // Where nothing is allowed, the same of each sentence, as an approximation; NULL: none.
  const struct SdShortlist* shortlist;
  const int32_t* limits;  // most tokens of each output, EOS included; 1 or more
  int32_t beam, n_best, no_repeat_ngram, min_length, iterations;
  int32_t scores;  // 0: only the words are wanted, so probabilities that no search needs may be left out as 0
  double length_penalty, penalty;
};

// Hypotheses of all sentences, best first, sentence by sentence: those of sentence i are `counts[i]` in a row. Memory
// of the workspace, which stays until its next call.
struct SdResult {
  const int32_t* tokens;  // without EOS; hypothesis k has tokens[ends[k - 1] .. ends[k])
  const int64_t* ends;
  const int32_t* counts;
  const double *log_probs, *scores;
  const int32_t *passes, *iterations;
};

struct SdModel;
struct SdWorkspace;

// settings: lines "key=value"; lists with commas, true and false as 1 and 0.
SD_EXPORT int sd_model_new(const char* settings, const SdTensor* tensors, int32_t count, SdModel** model, char* error,
                           int32_t error_size);
SD_EXPORT void sd_model_free(SdModel* model);

// Scratch memory of one thread; it keeps what a call needed for the next one.
SD_EXPORT int sd_workspace_new(SdWorkspace** workspace);
SD_EXPORT void sd_workspace_free(SdWorkspace* workspace);

// A model may be used by many threads at once, a workspace by one.
SD_EXPORT int sd_decode(const SdModel* model, SdWorkspace* workspace, const SdRequest* request, SdResult* result,
                        char* error, int32_t error_size);

// log_probs[i]: of target i and EOS given source i, over all words; `targets` are lists without EOS.
SD_EXPORT int sd_score(const SdModel* model, SdWorkspace* workspace, int32_t sentences, const SdLists* sources,
                       const SdLists* targets, double* log_probs, char* error, int32_t error_size);

// The instruction set that this library is compiled for: "avx512vnni", ...
SD_EXPORT const char* sd_instructions(void);

// A hash of the sources that this library was built from; see build.py.
SD_EXPORT const char* sd_sources(void);

// The sets that this machine runs, the best first, with commas.
SD_EXPORT const char* sd_runnable(void);
