#include "api.h"

#include "model.h"
#include "shortlist.h"

using namespace sd;

struct SdModel {
  Model model;
};

struct SdWorkspace {
  Arena arena;    // of a call
  Arena results;  // of the last call
};

namespace {

#define SD_TEXT(name) #name
#define SD_TEXT_OF(macro) SD_TEXT(macro)

int failed(int code, const char* message, char* error, int size) {
  if (error && size > 0) snprintf(error, size_t(size), "%s", message);
  return code;
}

constexpr int64_t MOST_ROWS = 1 << 24;

// Refuses lists that run backwards, or hold ids outside the vocabulary.
void check_lists(const char* name, const SdLists& lists, int sentences, int vocab, Failure& failure) {
  if (!lists.values || !sentences) return;
  int64_t first = 0;
  for (int i = 0; i < sentences; first = lists.ends[i++])
    if (lists.ends[i] < first || lists.ends[i] - first > INT32_MAX / 2)
      failure.refuse("%s: list %d is of no possible length", name, i);
  for (int64_t i = 0; i < first; ++i)
    if (lists.values[i] < 0 || lists.values[i] >= vocab)
      failure.refuse("%s: id %d is outside the vocabulary of %d", name, lists.values[i], vocab);
}

void check_numbers(const Family& family, const SdRequest& request, Failure& failure) {
  if (request.sentences < 0) failure.refuse("%d sentences", request.sentences);
  if (int64_t(request.sentences) * request.beam > MOST_ROWS)
    failure.refuse("%d sentences with a beam of %d: too many for one call", request.sentences, request.beam);
  if (request.beam < 1 || request.n_best < 1 || request.n_best > request.beam)
    failure.refuse("beam %d and n_best %d: both are 1 or more, n_best at most beam", request.beam, request.n_best);
  if (family.most_beam && request.beam > family.most_beam)
    failure.refuse("beam %d: models of the family %s take at most %d", request.beam, family.name, family.most_beam);
  if (request.no_repeat_ngram < 0 || request.min_length < 0 || request.iterations < 0)
    failure.refuse("no_repeat_ngram, min_length and iterations are 0 or more");
  for (int i = 0; i < request.sentences; ++i)
    if (request.limits[i] < 1) failure.refuse("sentence %d: the limit is %d, expected 1 or more", i, request.limits[i]);
}

// The shortlists of sentences whose ids are checked.
SdLists shortlists(const Model& model, const SdRequest& request, Arena& arena, Failure& failure) {
  if (!request.shortlist || request.allowed.values) return {nullptr, nullptr};
  const SdShortlist& table = *request.shortlist;
  if (table.source_vocab != model.source_vocab || table.target_vocab != model.target_vocab)
    failure.refuse("the shortlist is of vocabularies of %d and %d, the model has %d and %d", table.source_vocab,
                   table.target_vocab, model.source_vocab, model.target_vocab);
  return shortlists_of(table, request.sources, request.sentences, arena);
}

Batch checked(const Model& model, const SdRequest& request, Arena& arena, Failure& failure) {
  int count = request.sentences;
  check_numbers(*model.family, request, failure);
  check_lists("sources", request.sources, count, model.source_vocab, failure);
  check_lists("prefixes", request.prefixes, count, model.target_vocab, failure);
  check_lists("allowed", request.allowed, count, model.target_vocab, failure);
  int32_t* starts = arena.array<int32_t>(size_t(count) + 1);
  starts[0] = 0;
  for (int i = 0; i < count; ++i) {
    if (request.sources.ends[i] > INT32_MAX / 2) failure.refuse("sources: too many tokens for one call");
    starts[i + 1] = int32_t(request.sources.ends[i]);
    if (starts[i + 1] == starts[i]) failure.refuse("source %d is empty: every source ends with EOS", i);
  }
  SdLists lists = shortlists(model, request, arena, failure);
  return {
      {starts, count},    request.sources.values, request.prefixes,       request.allowed,         lists,
      request.limits,     request.beam,           request.n_best,         request.no_repeat_ngram, request.min_length,
      request.iterations, request.scores != 0,    request.length_penalty, request.penalty};
}

// The hypotheses of all sentences in flat arrays.
SdResult flat(const Found* found, int sentences, Arena& arena) {
  size_t total = 0, words = 0;
  int32_t* counts = arena.array<int32_t>(size_t(sentences));
  for (int i = 0; i < sentences; ++i) {
    total += size_t(counts[i] = found[i].count);
    for (int k = 0; k < found[i].count; ++k) words += size_t(found[i].hypotheses[k].length);
  }
  int32_t* tokens = arena.array<int32_t>(words);
  int64_t* ends = arena.array<int64_t>(total);
  double *log_probs = arena.array<double>(total), *scores = arena.array<double>(total);
  int32_t *passes = arena.array<int32_t>(total), *iterations = arena.array<int32_t>(total);
  size_t number = 0, end = 0;
  for (int i = 0; i < sentences; ++i)
    for (int k = 0; k < found[i].count; ++k, ++number) {
      const Hypothesis& each = found[i].hypotheses[k];
      if (each.length) memcpy(tokens + end, each.tokens, sizeof(int32_t) * size_t(each.length));
      ends[number] = int64_t(end += size_t(each.length));
      log_probs[number] = each.log_prob, scores[number] = each.score;
      passes[number] = each.passes, iterations[number] = each.iterations;
    }
  return {tokens, ends, counts, log_probs, scores, passes, iterations};
}

void decode(const Model& model, const SdRequest& request, SdResult& result, SdWorkspace& workspace, Failure& failure) {
  Arena& arena = workspace.arena;
  arena.release({nullptr, 0}), workspace.results.release({nullptr, 0});
  Batch batch = checked(model, request, arena, failure);
  Found* found = arena.zeros<Found>(size_t(request.sentences));
  if (request.sentences) model.family->decode(model, batch, found, arena);
  result = flat(found, request.sentences, workspace.results);
  arena.release({nullptr, 0}), arena.trim(), workspace.results.trim();
}

void score(const Model& model, int sentences, const SdLists& sources, const SdLists& targets, double* log_probs,
           Arena& arena, Failure& failure) {
  if (!model.family->score) failure.refuse("models of the family %s score no given text", model.family->name);
  arena.release({nullptr, 0});
  int32_t* limits = arena.array<int32_t>(size_t(sentences));
  for (int i = 0; i < sentences; ++i) limits[i] = 1;  // of what is written, which is nothing
  SdRequest request = {};
  request.sentences = sentences, request.sources = sources, request.limits = limits;
  request.beam = request.n_best = 1;
  Batch batch = checked(model, request, arena, failure);
  check_lists("targets", targets, sentences, model.target_vocab, failure);
  if (sentences) model.family->score(model, batch, targets, log_probs, arena);
  arena.release({nullptr, 0}), arena.trim();
}

int out_of_memory(SdWorkspace* workspace, char* error, int size) {
  workspace->arena.free_all(), workspace->results.free_all();
  return failed(SD_OUT_OF_MEMORY, "out of memory: give fewer or shorter sentences at once", error, size);
}

}  // namespace

// Each entry sets the two places that what it calls may jump to; locals that it needs after a jump are not changed.

int sd_model_new(const char* settings, const SdTensor* tensors, int32_t count, SdModel** model, char* error,
                 int32_t error_size) {
  SdModel* made = *model = static_cast<SdModel*>(calloc(1, sizeof(SdModel)));
  if (!made) return failed(SD_OUT_OF_MEMORY, "out of memory", error, error_size);
  Failure failure;
  failure.message = error, failure.size = error_size;
  if (setjmp(made->model.arena.out_of_memory)) {
    sd_model_free(*model), *model = nullptr;
    return failed(SD_OUT_OF_MEMORY, "out of memory", error, error_size);
  }
  if (setjmp(failure.place)) {
    sd_model_free(*model), *model = nullptr;
    return SD_REFUSED;
  }
  build(made->model, settings, tensors, count, failure);
  return SD_OK;
}

void sd_model_free(SdModel* model) {
  if (model) model->model.arena.free_all();
  free(model);
}

int sd_workspace_new(SdWorkspace** workspace) {
  *workspace = static_cast<SdWorkspace*>(calloc(1, sizeof(SdWorkspace)));
  return *workspace ? SD_OK : SD_OUT_OF_MEMORY;
}

void sd_workspace_free(SdWorkspace* workspace) {
  if (workspace) workspace->arena.free_all(), workspace->results.free_all();
  free(workspace);
}

int sd_decode(const SdModel* model, SdWorkspace* workspace, const SdRequest* request, SdResult* result, char* error,
              int32_t error_size) {
  Failure failure;
  failure.message = error, failure.size = error_size;
  if (setjmp(workspace->arena.out_of_memory)) return out_of_memory(workspace, error, error_size);
  if (setjmp(workspace->results.out_of_memory)) return out_of_memory(workspace, error, error_size);
  if (setjmp(failure.place)) return SD_REFUSED;
  decode(model->model, *request, *result, *workspace, failure);
  return SD_OK;
}

int sd_score(const SdModel* model, SdWorkspace* workspace, int32_t sentences, const SdLists* sources,
             const SdLists* targets, double* log_probs, char* error, int32_t error_size) {
  Failure failure;
  failure.message = error, failure.size = error_size;
  if (setjmp(workspace->arena.out_of_memory)) return out_of_memory(workspace, error, error_size);
  if (setjmp(failure.place)) return SD_REFUSED;
  score(model->model, sentences, *sources, *targets, log_probs, workspace->arena, failure);
  return SD_OK;
}

const char* sd_instructions(void) { return SD_TEXT_OF(SD_INSTRUCTIONS); }

const char* sd_sources(void) { return SD_TEXT_OF(SD_SOURCES); }
