#include "refinement.h"

#include <math.h>

namespace sd {
namespace {

constexpr int MOST_ITERATIONS = 1000;

Work encoded(const Refined& model, const Refiner& refiner, const Batch& batch, Arena& arena) {
  const int rows = batch.sources.rows();
  float* states = arena.array<float>(size_t(rows) * size_t(model.dim));
  embed_sentences(model.source_embedding, model.positions, batch.source_tokens, batch.sources, states);
  encode(model.encoder, batch.sources, states, arena);
  const Memory* memories = memories_of(model.decoder, states, rows, arena);
  const int iterations = batch.iterations ? batch.iterations : model.iterations;
  // Candidates are ranked by their log-probabilities.
  const bool scores = batch.scores || batch.beam > 1 || (refiner.reads_log_probs && iterations > 1);
  const WordLists words = word_lists(model.ids, model.output, batch.shortlists, batch.sources.count, arena);
  return {model,      batch.sources, batch.source_tokens,  states, memories, words, batch.beam,
          iterations, scores,        float(batch.penalty), arena};
}

Canvas started(const Work& work, const Refiner& refiner, const int32_t* limits) {
  const int rows = work.sources.count * work.beam;
  int32_t* of_rows = work.arena.array<int32_t>(size_t(rows));
  for (int row = 0; row < rows; ++row) of_rows[row] = limits[row / work.beam];
  Canvas canvas = empty_canvas(of_rows, rows, work.arena);
  if (refiner.lengths) fill_with_masks(canvas, refiner.lengths(work), work.model.ids.mask);
  return canvas;
}

// What a row held before an iteration.
struct Before {
  const int32_t *starts, *tokens, *passes;
};

const int32_t* copied(const int32_t* numbers, int count, Arena& arena) {
  int32_t* copy = arena.array<int32_t>(size_t(count));
  memcpy(copy, numbers, sizeof(int32_t) * size_t(count));
  return copy;
}

bool is_done(const Before& before, const Canvas& canvas, int row, bool settles) {
  const int length = before.starts[row + 1] - before.starts[row];
  if (length != canvas.length(row)) return false;
  if (memcmp(before.tokens + before.starts[row], canvas.tokens + canvas.starts[row], sizeof(int32_t) * size_t(length)))
    return false;
  return settles || before.passes[row] == canvas.passes[row];
}

// One iteration; `going` becomes the rows that are not done. Returns how many they are.
int iterate(const Work& work, const Refiner& refiner, Canvas& canvas, int step, int32_t* going) {
  Arena::Mark mark = work.arena.mark();
  const Before before = {copied(canvas.starts, canvas.rows + 1, work.arena),
                         copied(canvas.tokens, canvas.total(), work.arena),
                         copied(canvas.passes, canvas.rows, work.arena)};
  refiner.refine(work, canvas, step);
  int count = 0;
  for (int row = 0; row < canvas.rows; ++row)
    if (!is_done(before, canvas, row, refiner.settles)) going[count++] = row;
  work.arena.release(mark);
  return step + 1 < work.iterations ? count : 0;
}

// The sentence of each row, once for each of its places but the last `left_out`.
const int32_t* sentences_of(const Run& run, int left_out, Arena& arena) {
  int32_t* sentences = arena.array<int32_t>(size_t(run.total()));
  int32_t* next = sentences;
  for (int row = 0; row < run.rows.count; ++row)
    for (int i = left_out; i < run.rows.length(row); ++i) *next++ = run.sentences[row];
  return sentences;
}

Hypothesis hypothesis_of(const Canvas& canvas, int row, int iterations, double length_penalty, Arena& arena) {
  const int first = canvas.starts[row], length = canvas.length(row);
  double log_prob = 0;
  for (int i = 0; i < length; ++i) log_prob += canvas.log_probs[first + i];
  const double score = log_prob / ::pow(length > 1 ? length : 1, length_penalty);
  return {copied(canvas.tokens + first, length, arena), length, log_prob, score, canvas.passes[row], iterations};
}

bool is_better(const Hypothesis& a, const Hypothesis& b) {
  if (!a.length != !b.length) return a.length > 0;
  return a.score > b.score;
}

// Sorts a sentence's candidates, best first; all get the passes and iterations of the one that took longest, as they
// run side by side.
void rank(Hypothesis* candidates, int count) {
  int passes = 0, iterations = 0;
  for (int i = 0; i < count; ++i) {
    const Hypothesis each = candidates[i];
    passes = each.passes > passes ? each.passes : passes;
    iterations = each.iterations > iterations ? each.iterations : iterations;
    int place = i;
    for (; place && is_better(each, candidates[place - 1]); --place) candidates[place] = candidates[place - 1];
    candidates[place] = each;
  }
  for (int i = 0; i < count; ++i) {
    candidates[i].passes = passes;
    candidates[i].iterations = iterations;
  }
}

}  // namespace

Refined* refined_of(const Parts& parts, const Model& model, Ids not_written) {
  Refined* refined = parts.arena.zeros<Refined>(1);
  refined->ids = model.ids;
  if (model.ids.mask < 0) parts.failure.refuse("setting mask is missing: the model writes over a symbol for it");
  refined->encoder = encoder_of(parts);
  refined->decoder = decoder_of(parts);
  const int dim = refined->dim = refined->encoder.sizes.dim;
  refined->iterations = parts.number("iterations", 1, MOST_ITERATIONS);
  Embeddings embeddings = embeddings_of(parts, model.source_vocab, model.target_vocab, dim);
  refined->source_embedding = embeddings.source;
  refined->target_embedding = embeddings.target;
  refined->output = without(embeddings.target, not_written.values, not_written.count, parts.arena);
  refined->positions = sinusoids(dim, parts.arena);
  return refined;
}

void refine(const Refined& model, const Refiner& refiner, const Batch& batch, Found* found, Arena& arena) {
  const Work work = encoded(model, refiner, batch, arena);
  Canvas canvas = started(work, refiner, batch.limits);
  Hypothesis* finished = arena.array<Hypothesis>(size_t(canvas.rows));
  int32_t* going = arena.array<int32_t>(size_t(canvas.rows));
  for (int step = 0; canvas.rows; ++step) {
    const int count = iterate(work, refiner, canvas, step, going);
    for (int row = 0, next = 0; row < canvas.rows; ++row) {
      if (next < count && going[next] == row)
        ++next;
      else
        finished[canvas.candidates[row]] = hypothesis_of(canvas, row, step + 1, batch.length_penalty, arena);
    }
    keep_rows(canvas, going, count);
  }
  for (int sentence = 0; sentence < batch.sources.count; ++sentence) {
    Hypothesis* candidates = finished + size_t(sentence) * size_t(batch.beam);
    rank(candidates, batch.beam);
    found[sentence] = {candidates, batch.n_best};
  }
}

Run whole_run(const Work& work, Canvas& canvas) {
  int32_t* sentences = work.arena.array<int32_t>(size_t(canvas.rows));
  for (int row = 0; row < canvas.rows; ++row) {
    sentences[row] = canvas.candidates[row] / work.beam;
    ++canvas.passes[row];
  }
  return {{canvas.starts, canvas.rows}, sentences, canvas.tokens, nullptr};
}

Run bracketed_run(const Work& work, Canvas& canvas, const int32_t* rows, int count) {
  const SpecialIds& ids = work.model.ids;
  int32_t* starts = work.arena.array<int32_t>(size_t(count) + 1);
  int32_t* sentences = work.arena.array<int32_t>(size_t(count));
  int32_t* tokens = work.arena.array<int32_t>(size_t(canvas.total()) + 2 * size_t(count));
  int end = 0;
  for (int i = 0; i < count; ++i) {
    const int row = rows[i], length = canvas.length(row);
    starts[i] = end;
    sentences[i] = canvas.candidates[row] / work.beam;
    ++canvas.passes[row];
    tokens[end++] = ids.bos < 0 ? ids.eos : ids.bos;
    memcpy(tokens + end, canvas.tokens + canvas.starts[row], sizeof(int32_t) * size_t(length));
    tokens[end += length] = ids.eos;
    ++end;
  }
  starts[count] = end;
  return {{starts, count}, sentences, tokens, nullptr};
}

const int32_t* all_rows(const Canvas& canvas, Arena& arena) {
  int32_t* rows = arena.array<int32_t>(size_t(canvas.rows));
  for (int row = 0; row < canvas.rows; ++row) rows[row] = row;
  return rows;
}

void run_decoder_on_vectors(const Work& work, Run& run) {
  const Refined& model = work.model;
  for (int row = 0; row < run.rows.count; ++row)
    add_positions(model.positions, 0, run.rows.length(row),
                  run.states + size_t(run.rows.first(row)) * size_t(model.dim), model.dim);
  decode(model.decoder, run.rows, run.sentences, work.memories, work.sources, run.states, work.arena);
}

void run_decoder(const Work& work, Run& run) {
  const Refined& model = work.model;
  run.states = work.arena.array<float>(size_t(run.total()) * size_t(model.dim));
  embed_sentences(model.target_embedding, model.positions, run.tokens, run.rows, run.states);
  decode(model.decoder, run.rows, run.sentences, work.memories, work.sources, run.states, work.arena);
}

const int32_t* sentences_of_places(const Run& run, Arena& arena) { return sentences_of(run, 0, arena); }

const int32_t* sentences_of_slots(const Run& run, Arena& arena) { return sentences_of(run, 1, arena); }

float* of_slots(const Linear& head, const Run& run, int dim, Arena& arena) {
  // The states of two neighbours lie one after the other, so what the head reads of a slot begins at its left one: rows
  // of 2 dim numbers, dim apart. Between the last slot of a row and the first of the next one it reads what is no slot.
  const size_t outputs = size_t(head.outputs);
  float* said = arena.array<float>(size_t(run.total()) * outputs);
  linear(head, run.states, run.total() - 1, dim, said, head.outputs, arena);
  for (int row = 1; row < run.rows.count; ++row)
    memmove(said + size_t(run.rows.first(row) - row) * outputs, said + size_t(run.rows.first(row)) * outputs,
            sizeof(float) * size_t(run.rows.length(row) - 1) * outputs);
  return said;
}

void write_words(const Work& work, const Run& run, const int32_t* run_places, Canvas& canvas, const int32_t* places,
                 int count) {
  const size_t dim = size_t(work.model.dim);
  float* states = work.arena.array<float>(size_t(count) * dim);
  const int32_t* of_all = sentences_of_places(run, work.arena);
  int32_t* sentences = work.arena.array<int32_t>(size_t(count));
  for (int i = 0; i < count; ++i) {
    memcpy(states + size_t(i) * dim, run.states + size_t(run_places[i]) * dim, sizeof(float) * dim);
    sentences[i] = of_all[run_places[i]];
  }
  int32_t* words = work.arena.array<int32_t>(size_t(count));
  float* log_probs = work.arena.zeros<float>(size_t(count));
  most_probable(work.words, sentences, states, count, words, work.scores ? log_probs : nullptr, work.arena);
  for (int i = 0; i < count; ++i) {
    canvas.tokens[places[i]] = words[i];
    canvas.log_probs[places[i]] = log_probs[i];
  }
}

}  // namespace sd
