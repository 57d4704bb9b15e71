// The past of hypotheses that share their beginnings: a number a step for each row.
#pragma once
#include "arena.h"

namespace sd {

// Tokens that a hypothesis has written, or cache rows that it sees. A row of the beam that goes on from another row
// copies its numbers:
//
//   append 7 8   7        select rows 1 1   8        append 5 6   8 5
//                8                          8                     8 6
class Paths {
 public:
  int length = 0;  // numbers in each row
  int stride = 0;

  // Room for `rows` rows; it grows with the steps.
  Paths(int rows, Arena& arena) : capacity(size_t(rows)) { grow(FIRST, arena); }

  const int32_t* values() const { return stored; }
  const int32_t* row(int row) const { return stored + size_t(row) * size_t(stride); }

  // number(row) is the next of each row.
  template <class Number>
  void append(int rows, Arena& arena, Number number) {
    if (length == stride) grow(2 * stride, arena);
    for (int row = 0; row < rows; ++row) stored[size_t(row) * size_t(stride) + size_t(length)] = number(row);
    ++length;
  }

  void select(const int32_t* parents, int rows) {
    for (int row = 0; row < rows; ++row) copy(this->row(parents[row]), spare + size_t(row) * size_t(stride));
    int32_t* old = stored;
    stored = spare, spare = old;
  }

 private:
  static constexpr int FIRST = 64;
  size_t capacity;
  int32_t *stored = nullptr, *spare = nullptr;

  void copy(const int32_t* from, int32_t* to) const { memcpy(to, from, sizeof(int32_t) * size_t(length)); }

  void grow(int room, Arena& arena) {
    int32_t* grown = arena.array<int32_t>(capacity * size_t(room));
    for (size_t row = 0; row < capacity && length; ++row)
      copy(stored + row * size_t(stride), grown + row * size_t(room));
    stored = grown, stride = room;
    spare = arena.array<int32_t>(capacity * size_t(room));
  }
};

}  // namespace sd
