// Entry points of the kernels for tests and benchmarks through ctypes; no part of the engine.
#include <time.h>

#include "arena.h"
#include "attention.h"
#include "elementwise.h"
#include "linear.h"
#include "norm.h"
#include "recurrence.h"
#include "shortlist.h"

#define TEST extern "C" __attribute__((visibility("default")))

namespace {

using namespace sd;

Arena arena;

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

// Shortest time of a call in `times` calls, in seconds; memory it takes is given back.
template <class Call>
double fastest(int times, Call call) {
  double best = 1e9;
  for (int i = 0; i < times; ++i) {
    Arena::Mark before = arena.mark();
    double start = now();
    call();
    double took = now() - start;
    best = took < best ? took : best;
    arena.release(before);
  }
  return best;
}

}  // namespace

// 0, or 1 if `bytes` could not be had; checks alignment, marks and that blocks are used again.
TEST int sdt_arena(uint64_t bytes) {
  if (setjmp(arena.out_of_memory)) return 1;
  Arena::Mark before = arena.mark();
  char* first = arena.zeros<char>(10);
  for (int i = 0; i < 100; ++i) {
    float* more = arena.array<float>(size_t(10000 * i + 1));
    if (reinterpret_cast<uintptr_t>(more) % 64) return 2;
    more[10000 * i] = 1;
  }
  first[9] = 1;
  arena.array<char>(bytes)[bytes - 1] = 1;
  arena.release(before);
  char* again = arena.array<char>(10);
  arena.release(before);
#if defined(__SANITIZE_ADDRESS__)
  return again ? 0 : 3;  // every array is a block of its own
#else
  return again == first ? 0 : 3;
#endif
}

TEST void sdt_free() { arena.free_all(); }

// function: 0 exp, 1 sigmoid, 2 tanh, 3 log
TEST void sdt_map(int function, const float* x, int count, float* y) {
  f16 (*of[])(f16) = {exp, sigmoid, tanh, log};
  map(x, size_t(count), y, of[function]);
}

TEST void sdt_reduce(const float* x, int count, float* log_sum, int32_t* greatest) {
  *log_sum = log_sum_exp(x, count);
  *greatest = argmax(x, count);
}

TEST void sdt_change(float* y, const float* x, int count, float by) {
  add(y, x, size_t(count));
  scale(y, by, size_t(count));
  relu(y, size_t(count));
}

TEST void sdt_layer_norm(const float* x, int rows, int stride, int dim, const float* weight, const float* bias,
                         float* y) {
  layer_norm(x, rows, stride, dim, weight, bias, y, dim);
}

TEST double sdt_linear(const Linear* matrix, const float* x, int rows, int x_stride, float* y, int y_stride,
                       int times) {
  return fastest(times, [&] { linear(*matrix, x, rows, x_stride, y, y_stride, arena); });
}

TEST double sdt_argmax(const Linear* matrix, const float* x, int rows, int32_t* best, float* top, int times) {
  return fastest(times, [&] {
    linear_argmax(*matrix, quantize(matrix->precision, x, rows, matrix->inputs, matrix->inputs, arena), best, top);
  });
}

TEST double sdt_embed(const Linear* matrix, const int32_t* ids, int rows, float scale, float* y, int times) {
  return fastest(times, [&] { embed(*matrix, ids, rows, scale, y, matrix->inputs); });
}

// As sdt_linear with the matrix of these rows; returns the time of choosing them.
TEST double sdt_shortlisted(const Linear* matrix, const int32_t* ids, int count, const float* x, int rows, float* y,
                            int times) {
  double took = fastest(times, [&] { shortlisted(*matrix, ids, count, arena); });
  Arena::Mark before = arena.mark();
  linear(shortlisted(*matrix, ids, count, arena), x, rows, matrix->inputs, y, count, arena);
  arena.release(before);
  return took;
}

// Lists of the arena, which stay until the next call; returns how many ids all have together.
TEST int64_t sdt_shortlists(const SdShortlist* table, const SdLists* sources, int sentences, SdLists* found) {
  arena.free_all();
  *found = shortlists_of(*table, *sources, sentences, arena);
  return sentences ? found->ends[sentences - 1] : 0;
}

TEST double sdt_attend(const float* query, int query_stride, const int32_t* query_starts, int lists,
                       const Memory* memory, const int32_t* key_starts, int sentences, const int32_t* sentence,
                       int heads, int dim, float* out, int out_stride, int times) {
  return fastest(times, [&] {
    attend(query, query_stride, {query_starts, lists}, *memory, {key_starts, sentences}, sentence, heads, dim, out,
           out_stride, arena);
  });
}

TEST double sdt_attend_rows(const float* query, int query_stride, int rows, const Memory* cache, const int32_t* table,
                            int table_stride, const int32_t* lengths, int heads, int dim, float* out, int out_stride,
                            int times) {
  return fastest(times, [&] {
    attend_rows(query, query_stride, rows, *cache, table, table_stride, lengths, heads, dim, out, out_stride, arena);
  });
}

TEST double sdt_sru(const Sru* sru, const int32_t* starts, int count, int backward, const float* projected, int stride,
                    const float* input, float* cell, float* hidden, int times) {
  return fastest(times, [&] {
    sru_scan(*sru, {starts, count}, backward, {projected, stride}, {input, sru->dim}, {cell, sru->dim},
             {hidden, sru->dim});
  });
}

TEST void sdt_sru_step(const Sru* sru, int rows, const float* projected, int stride, const float* input, float* cell,
                       float* hidden) {
  sru_step(*sru, rows, {projected, stride}, {input, sru->dim}, {cell, sru->dim}, {hidden, sru->dim});
}

TEST void sdt_ssru(int dim, const int32_t* starts, int count, int backward, const float* projected, int stride,
                   float* cell, float* hidden) {
  ssru_scan(dim, {starts, count}, backward, {projected, stride}, {cell, dim}, {hidden, dim});
}

TEST void sdt_ssru_step(int dim, int rows, const float* projected, int stride, float* cell, float* hidden) {
  ssru_step(dim, rows, {projected, stride}, {cell, dim}, {hidden, dim});
}

TEST void sdt_gru(const Linear* recurrent, const int32_t* starts, int count, int backward, const float* projected,
                  int stride, float* state, float* hidden) {
  int dim = recurrent->inputs;
  gru_scan(*recurrent, {starts, count}, backward, {projected, stride}, {state, dim}, {hidden, dim}, arena);
}

TEST void sdt_lstm(const Linear* recurrent, const int32_t* starts, int count, int backward, const float* projected,
                   int stride, float* state, float* cell, float* hidden) {
  int dim = recurrent->inputs;
  lstm_scan(*recurrent, {starts, count}, backward, {projected, stride}, {state, dim}, {cell, dim}, {hidden, dim},
            arena);
}

// One step from zeros by the step functions, for comparing with the scans.
TEST void sdt_gate_steps(int dim, const float* from_input, const float* from_hidden, float* gru, float* state,
                         float* cell) {
  gru_step(dim, 1, {from_input, 0}, {from_hidden, 0}, {gru, dim});
  lstm_step(dim, 1, {from_input, 0}, {from_hidden, 0}, {state, dim}, {cell, dim});
}

// Seconds of reading `bytes` bytes once, 64 at a time: what a product of one row cannot be faster than.
TEST double sdt_read(const int32_t* bytes, uint64_t count, int32_t* sums /* 128 */, int times) {
  return fastest(times, [&] {
    i16 totals[8] = {};
    for (uint64_t i = 0; i + 512 <= count; i += 512)
      for (int k = 0; k < 8; ++k) {
        i16 v = load(bytes + i / 4 + 16 * uint64_t(k)), total = totals[k];
        totals[k] = each_int_part([=](int part) { return total.part[part] ^ v.part[part]; });
      }
    for (int k = 0; k < 8; ++k) store(sums + 16 * k, totals[k]);
  });
}
