#include "recurrence.h"

namespace sd {
namespace {

// Calls step(i, count) for every run of up to 16 numbers of a row.
template <class Step>
inline void each_run(int dim, Step step) {
  for (int i = 0; i < dim; i += 16) step(i, dim - i < 16 ? dim - i : 16);
}

void sru_row(const Sru& sru, const float* projected, const float* input, float* cell, float* hidden) {
  int dim = sru.dim;
  const float *forget_weight = sru.recurrent, *reset_weight = sru.recurrent + dim;
  const float *forget = projected + dim, *reset = projected + 2 * dim;
  const float* skipped = sru.fourth ? projected + 3 * dim : input;
  each_run(dim, [&](int i, int n) {
    f16 before = load(cell + i, n), candidate = load(projected + i, n);
    f16 f = sigmoid(load(forget + i, n) + load(forget_weight + i, n) * before);
    f16 r = sigmoid(load(reset + i, n) + load(reset_weight + i, n) * before);
    f16 after = candidate + f * (before - candidate);
    f16 skip = load(skipped + i, n) * broadcast(sru.scale);
    store(cell + i, after, n);
    store(hidden + i, skip + r * (after - skip), n);
  });
}

void ssru_row(int dim, const float* projected, float* cell, float* hidden) {
  each_run(dim, [&](int i, int n) {
    f16 before = load(cell + i, n), candidate = load(projected + i, n);
    f16 after = candidate + sigmoid(load(projected + dim + i, n)) * (before - candidate);
    store(cell + i, after, n);
    store(hidden + i, max(after, zeros()), n);
  });
}

void gru_row(int dim, const float* x, const float* h, float* state) {
  each_run(dim, [&](int i, int n) {
    f16 r = sigmoid(load(x + i, n) + load(h + i, n));
    f16 z = sigmoid(load(x + dim + i, n) + load(h + dim + i, n));
    f16 candidate = tanh(load(x + 2 * dim + i, n) + r * load(h + 2 * dim + i, n));
    store(state + i, candidate + z * (load(state + i, n) - candidate), n);
  });
}

void lstm_row(int dim, const float* x, const float* h, float* state, float* cell) {
  each_run(dim, [&](int i, int n) {
    f16 gate[4];
    for (int k = 0; k < 4; ++k) gate[k] = load(x + k * dim + i, n) + load(h + k * dim + i, n);
    f16 after = sigmoid(gate[1]) * load(cell + i, n) + sigmoid(gate[0]) * tanh(gate[2]);
    store(cell + i, after, n);
    store(state + i, sigmoid(gate[3]) * tanh(after), n);
  });
}

// Calls step(row, sentence) for every token in reading order.
template <class Step>
inline void each_token(Ragged sentences, bool backward, Step step) {
  for (int sentence = 0; sentence < sentences.count; ++sentence)
    for (int first = sentences.first(sentence), length = sentences.length(sentence), t = 0; t < length; ++t)
      step(first + (backward ? length - 1 - t : t), sentence);
}

// Reads the t-th tokens of all sentences together, so that their hidden states go through one product:
// gathered rows are those of the sentences longer than t, from step(from_hidden, sentences that read, their tokens).
template <class Step>
void scan_together(const Linear& recurrent, int dim, Ragged sentences, bool backward, Rows state, Rows hidden,
                   Arena& arena, Step step) {
  Arena::Mark before = arena.mark();
  float* gathered = arena.array<float>(size_t(sentences.count) * size_t(dim));
  float* products = arena.array<float>(size_t(sentences.count) * size_t(recurrent.outputs));
  int32_t* reading = arena.array<int32_t>(size_t(sentences.count));
  for (int t = 0;; ++t) {
    int count = 0;
    for (int i = 0; i < sentences.count; ++i)
      if (t < sentences.length(i)) reading[count++] = i;
    if (!count) break;
    for (int k = 0; k < count; ++k)
      memcpy(gathered + size_t(k) * size_t(dim), state.row(reading[k]), sizeof(float) * size_t(dim));
    linear(recurrent, gathered, count, dim, products, recurrent.outputs, arena);
    for (int k = 0; k < count; ++k) {
      int i = reading[k], row = sentences.first(i) + (backward ? sentences.length(i) - 1 - t : t);
      step(row, i, products + size_t(k) * size_t(recurrent.outputs));
      memcpy(hidden.row(row), state.row(i), sizeof(float) * size_t(dim));
    }
  }
  arena.release(before);
}

}  // namespace

void sru_step(const Sru& sru, int rows, ConstRows projected, ConstRows input, Rows cell, Rows hidden) {
  for (int i = 0; i < rows; ++i)
    sru_row(sru, projected.row(i), sru.fourth ? nullptr : input.row(i), cell.row(i), hidden.row(i));
}

void sru_scan(const Sru& sru, Ragged sentences, bool backward, ConstRows projected, ConstRows input, Rows cell,
              Rows hidden) {
  each_token(sentences, backward, [&](int row, int sentence) {
    sru_row(sru, projected.row(row), sru.fourth ? nullptr : input.row(row), cell.row(sentence), hidden.row(row));
  });
}

void ssru_step(int dim, int rows, ConstRows projected, Rows cell, Rows hidden) {
  for (int i = 0; i < rows; ++i) ssru_row(dim, projected.row(i), cell.row(i), hidden.row(i));
}

void ssru_scan(int dim, Ragged sentences, bool backward, ConstRows projected, Rows cell, Rows hidden) {
  each_token(sentences, backward,
             [&](int row, int sentence) { ssru_row(dim, projected.row(row), cell.row(sentence), hidden.row(row)); });
}

void gru_step(int dim, int rows, ConstRows from_input, ConstRows from_hidden, Rows state) {
  for (int i = 0; i < rows; ++i) gru_row(dim, from_input.row(i), from_hidden.row(i), state.row(i));
}

void lstm_step(int dim, int rows, ConstRows from_input, ConstRows from_hidden, Rows state, Rows cell) {
  for (int i = 0; i < rows; ++i) lstm_row(dim, from_input.row(i), from_hidden.row(i), state.row(i), cell.row(i));
}

void gru_scan(const Linear& recurrent, Ragged sentences, bool backward, ConstRows from_input, Rows state, Rows hidden,
              Arena& arena) {
  int dim = recurrent.inputs;
  scan_together(recurrent, dim, sentences, backward, state, hidden, arena, [&](int row, int i, const float* products) {
    gru_row(dim, from_input.row(row), products, state.row(i));
  });
}

void lstm_scan(const Linear& recurrent, Ragged sentences, bool backward, ConstRows from_input, Rows state, Rows cell,
               Rows hidden, Arena& arena) {
  int dim = recurrent.inputs;
  scan_together(recurrent, dim, sentences, backward, state, hidden, arena, [&](int row, int i, const float* products) {
    lstm_row(dim, from_input.row(row), products, state.row(i), cell.row(i));
  });
}

}  // namespace sd
