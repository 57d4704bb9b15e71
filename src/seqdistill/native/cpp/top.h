// The greatest of many numbers.
#pragma once
#include "vectors.h"

namespace sd {

struct Ranked {
  float value;
  int place;
};

// The `wanted` greatest numbers above -infinity, greatest first, of equal ones the first; returns how many there are.
//
// A block of 64 is searched only if its maximum would enter the list, which after the first blocks is rare.
inline int top(const float* x, int count, int wanted, Ranked* best) {
  constexpr int BLOCK = 64;
  int found = 0;
  float least = -__builtin_inff();  // what a number must exceed
  for (int first = 0; first < count; first += BLOCK) {
    int last = first + BLOCK;
    if (last <= count) {
      f16 tops = max(max(load(x + first), load(x + first + 16)), max(load(x + first + 32), load(x + first + 48)));
      if (!(maximum(tops) > least)) continue;
    } else {
      last = count;
    }
    for (int place = first; place < last; ++place) {
      if (!(x[place] > least)) continue;
      int at = found < wanted ? found++ : wanted - 1;
      for (; at && best[at - 1].value < x[place]; --at) best[at] = best[at - 1];
      best[at] = {x[place], place};
      if (found == wanted) least = best[wanted - 1].value;
    }
  }
  return found;
}

}  // namespace sd
