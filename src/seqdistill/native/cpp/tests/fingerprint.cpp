// A number for each kernel that is made of all the bits it computes from the same made-up numbers, and a program that
// prints them: for comparing with processors that are only there as an emulator.
#include <stdio.h>

#include "attention.h"
#include "elementwise.h"
#include "linear.h"
#include "norm.h"
#include "recurrence.h"

namespace {

using namespace sd;

Arena arena;

struct Numbers {
  uint32_t state;
  float next() {  // within +-2
    state = state * 1664525u + 1013904223u;
    return float(int32_t(state >> 8) - (1 << 23)) / float(1 << 22);
  }
  float* floats(int count) {
    float* x = arena.array<float>(size_t(count));
    for (int i = 0; i < count; ++i) x[i] = next();
    return x;
  }
};

// FNV-1a over the bits.
uint64_t hash(const void* values, size_t bytes) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < bytes; ++i) h = (h ^ static_cast<const unsigned char*>(values)[i]) * 1099511628211u;
  return h;
}

// Products with made-up weights in the packed layout; scales are made up too.
uint64_t products(Numbers& numbers, int precision) {
  constexpr int OUTPUTS = 150, INPUTS = 71, ROWS = 13, CELLS = 192 * 72;
  float* values = numbers.floats(CELLS);
  int8_t* bytes = arena.array<int8_t>(CELLS);
  uint16_t* halves = arena.array<uint16_t>(CELLS);
  int32_t* corrections = arena.zeros<int32_t>(192);
  for (int i = 0; i < CELLS; ++i) {
    bytes[i] = int8_t(values[i] * 63);
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    halves[i] = uint16_t(bits >> 16);
  }
  for (int block = 0; block < 3; ++block)
    for (int quad = 0; quad < 18; ++quad)
      for (int o = 0; o < 64; ++o)
        for (int k = 0; k < 4; ++k) {
          int8_t& weight = bytes[((block * 18 + quad) * 64 + o) * 4 + k];
          if (4 * quad + k >= INPUTS) weight = 0;
          corrections[64 * block + o] -= 128 * weight;
        }
  const void* weights[] = {bytes, halves, values};
  const float *scales = numbers.floats(192), *bias = numbers.floats(OUTPUTS), *rows = numbers.floats(ROWS * INPUTS);
  Linear matrix = {precision, OUTPUTS, INPUTS, weights[precision], scales, corrections, bias};
  float* y = arena.zeros<float>(ROWS * (OUTPUTS + 71) + 13);
  Quantized x = quantize(precision, rows, ROWS, INPUTS, INPUTS, arena);
  linear(matrix, x, y, OUTPUTS);
  int32_t ids[ROWS];
  linear_argmax(matrix, x, ids, y + ROWS * (OUTPUTS + 71));
  embed(matrix, ids, ROWS, 1.7f, y + ROWS * OUTPUTS, INPUTS);
  return hash(y, sizeof(float) * (ROWS * (OUTPUTS + 71) + 13));
}

uint64_t functions(Numbers& numbers) {
  constexpr int COUNT = 20003;
  float *x = numbers.floats(COUNT), *y = arena.zeros<float>(4 * COUNT + 1);
  map(x, COUNT, y, [](f16 v) { return exp(v * broadcast(40.0f)); });
  map(x, COUNT, y + COUNT, [](f16 v) { return sigmoid(v * broadcast(10.0f)); });
  map(x, COUNT, y + 2 * COUNT, [](f16 v) { return tanh(v * v * v); });
  map(x, COUNT, y + 3 * COUNT, [](f16 v) { return log(absolute(v) + broadcast(1e-6f)); });
  y[4 * COUNT] = log_sum_exp(x, COUNT);
  return hash(y, sizeof(float) * (4 * COUNT + 1));
}

uint64_t sequences(Numbers& numbers) {
  constexpr int DIM = 42, ROWS = 37;
  const int32_t starts[] = {0, 20, 20, 37};
  Ragged sentences = {starts, 3};
  float* y = arena.zeros<float>(4 * ROWS * DIM);
  // One after the other: compilers choose the order in which they work out arguments.
  float *x = numbers.floats(ROWS * 4 * DIM), *more = numbers.floats(12 * DIM), *cells = numbers.floats(3 * DIM);
  layer_norm(x, ROWS, DIM, DIM, more, more + DIM, y, DIM);
  Memory memory = {x + ROWS * DIM, x + ROWS * DIM + DIM, 2 * DIM, 2 * DIM};
  attend(y, DIM, sentences, memory, sentences, nullptr, 3, DIM, y + ROWS * DIM, DIM, arena);
  Sru sru = {DIM, true, 1.5f, more};
  sru_scan(sru, sentences, true, {x, 4 * DIM}, {nullptr, 0}, {cells, DIM}, {y + 2 * ROWS * DIM, DIM});
  lstm_step(DIM, 3, {x, 4 * DIM}, {more, 4 * DIM}, {cells, DIM}, {y + 3 * ROWS * DIM, DIM});
  return hash(y, sizeof(float) * 4 * ROWS * DIM) ^ hash(cells, sizeof(float) * 3 * DIM);
}

// The other cells, over sentences and a step further, and attention to a cache that hypotheses share.
uint64_t cells(Numbers& numbers) {
  constexpr int DIM = 42, ROWS = 37, SENTENCES = 3, CELLS = 192 * DIM, HIDDEN = 4 * ROWS * DIM;
  const int32_t starts[] = {0, 20, 20, 37}, table[] = {5, 0, 36, 5, 1, 1, 30, 2, 0}, lengths[] = {3, 1, 2};
  Ragged sentences = {starts, SENTENCES};
  float *x = numbers.floats(ROWS * 4 * DIM), *weights = numbers.floats(CELLS), *bias = numbers.floats(4 * DIM);
  float *states = numbers.floats(5 * SENTENCES * DIM), *y = arena.zeros<float>(HIDDEN + 3 * SENTENCES * DIM);
  auto state = [&](int i) { return Rows{states + i * SENTENCES * DIM, DIM}; };
  auto hidden = [&](int i) { return Rows{y + i * ROWS * DIM, DIM}; };
  Linear gates = {2, 3 * DIM, DIM, weights, nullptr, nullptr, bias}, lstm = gates;
  lstm.outputs = 4 * DIM;
  ssru_scan(DIM, sentences, true, {x, 4 * DIM}, state(0), hidden(0));
  gru_scan(gates, sentences, false, {x, 4 * DIM}, state(1), hidden(1), arena);
  lstm_scan(lstm, sentences, true, {x, 4 * DIM}, state(2), state(3), hidden(2), arena);
  Sru sru = {DIM, false, 0.7f, bias};
  sru_scan(sru, sentences, false, {x, 4 * DIM}, {x + 3 * DIM, 4 * DIM}, state(4), hidden(3));
  sru_step(sru, SENTENCES, {x, 4 * DIM}, {x + DIM, 4 * DIM}, state(4), {y + HIDDEN, DIM});
  ssru_step(DIM, SENTENCES, {x, 4 * DIM}, state(0), {y + HIDDEN + SENTENCES * DIM, DIM});
  gru_step(DIM, SENTENCES, {x, 4 * DIM}, {y, 3 * DIM}, state(1));
  Memory cache = {x, x + DIM, 4 * DIM, 4 * DIM};
  attend_rows(y, DIM, SENTENCES, cache, table, 3, lengths, 3, DIM, y + HIDDEN + 2 * SENTENCES * DIM, DIM, arena);
  return hash(y, sizeof(float) * (HIDDEN + 3 * SENTENCES * DIM)) ^ hash(states, sizeof(float) * 5 * SENTENCES * DIM);
}

}  // namespace

// 0 to 2: products in int8, bfloat16, float32; 3: functions; 4: layers over sequences; 5: their other cells.
extern "C" __attribute__((visibility("default"))) uint64_t sdt_fingerprint(int kernel) {
  if (setjmp(arena.out_of_memory)) return 0;
  Numbers numbers = {uint32_t(kernel) + 1};
  uint64_t result = kernel < 3    ? products(numbers, kernel)
                    : kernel == 3 ? functions(numbers)
                    : kernel == 4 ? sequences(numbers)
                                  : cells(numbers);
  arena.free_all();
  return result;
}

#if defined(SD_PROGRAM)
int main() {
  for (int kernel = 0; kernel < 6; ++kernel)
    printf("%016llx\n", static_cast<unsigned long long>(sdt_fingerprint(kernel)));
  return 0;
}
#endif
