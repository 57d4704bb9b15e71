// The greatest of many numbers, and their sum of exponentials.
#pragma once
#include "arena.h"
#include "vectors.h"

namespace sd {

struct Ranked {
  float value;
  int place;
};

// A list that keeps the `room` best, greatest first, of equal values the lowest place first.
struct Ranking {
  Ranked* best;
  int room;
  int count = 0;

  void add(float value, int place) {
    if (count == room && !goes_before(value, place, best[count - 1])) return;
    int at = count < room ? count++ : room - 1;
    for (; at > 0 && goes_before(value, place, best[at - 1]); --at) best[at] = best[at - 1];
    best[at] = {value, place};
  }
  static bool goes_before(float value, int place, const Ranked& other) {
    return value > other.value || (value == other.value && place < other.place);
  }
};

// The `wanted` greatest numbers above -infinity in this order; returns how many there are.
//
// Numbers are looked at in cells of up to 16, those of one lane in 16 vectors that follow each other:
//
//   numbers 0 .. 255     cell 0: 0 16 32 .. 240    cell 1: 1 17 33 .. 241    ...    cell 15: 15 31 .. 255
//   numbers 256 .. 511   cell 16: 256 272 ..       ...
//
// The greatest of every cell cost a comparison of vectors a number. The k greatest numbers are at least the k-th
// greatest of these, so they lie in the few cells that reach it.
inline int top(const float* x, int count, int wanted, Ranked* best, Arena& arena) {
  constexpr int CELLS = 16, GROUP = 16 * CELLS;
  const float nothing = -__builtin_inff();
  Arena::Mark before = arena.mark();
  int groups = (count + GROUP - 1) / GROUP;
  float* greatest = arena.array<float>(size_t(groups) * CELLS);
  for (int group = 0; group < groups; ++group) {
    f16 tops = broadcast(nothing);
    int first = group * GROUP, last = first + GROUP < count ? first + GROUP : count, i = first;
    for (; i + 16 <= last; i += 16) tops = max(load(x + i), tops);
    float lanes[16];
    store(lanes, tops);
    for (; i < last; ++i)
      if (x[i] > lanes[i % 16]) lanes[i % 16] = x[i];
    memcpy(greatest + size_t(group) * CELLS, lanes, sizeof lanes);
  }
  Ranking cells = {best, wanted};
  for (int cell = 0; cell < groups * CELLS; ++cell)
    if (cells.count < wanted || greatest[cell] > best[wanted - 1].value) cells.add(greatest[cell], cell);
  float least = cells.count == wanted ? best[wanted - 1].value : nothing;
  Ranking ranking = {best, wanted};
  for (int cell = 0; cell < groups * CELLS; ++cell) {
    if (!(greatest[cell] >= least)) continue;
    int first = cell / CELLS * GROUP + cell % CELLS, last = cell / CELLS * GROUP + GROUP;
    for (int i = first; i < last && i < count; i += CELLS)
      if (x[i] >= least && x[i] > nothing) ranking.add(x[i], i);
  }
  arena.release(before);
  return ranking.count;
}

// log sum exp(x[i]) of numbers whose greatest is `top`, in a fixed order.
inline float log_sum_exp(const float* x, int count, float top) {
  f16 sums[4] = {zeros(), zeros(), zeros(), zeros()};
  int i = 0;
  for (; i + 64 <= count; i += 64)
    for (int j = 0; j < 4; ++j) sums[j] += exp(load(x + i + 16 * j) - broadcast(top));
  for (; i < count; i += 16) {
    float rest[16];
    for (int j = 0; j < 16; ++j) rest[j] = i + j < count ? x[i + j] : -__builtin_inff();  // of which exp is 0
    sums[0] += exp(load(rest) - broadcast(top));
  }
  return top + log(sum((sums[0] + sums[1]) + (sums[2] + sums[3])));
}

}  // namespace sd
