#include "canvas.h"

namespace sd {

Canvas empty_canvas(const int32_t* limits, int rows, Arena& arena) {
  size_t room = 0;
  for (int i = 0; i < rows; ++i) room += size_t(limits[i]);
  Canvas canvas;
  canvas.rows = rows;
  canvas.starts = arena.zeros<int32_t>(size_t(rows) + 1);
  canvas.tokens = arena.array<int32_t>(room);
  canvas.log_probs = arena.array<float>(room);
  canvas.candidates = arena.array<int32_t>(size_t(rows));
  canvas.limits = arena.array<int32_t>(size_t(rows));
  canvas.passes = arena.zeros<int32_t>(size_t(rows));
  for (int i = 0; i < rows; ++i) {
    canvas.candidates[i] = i;
    canvas.limits[i] = limits[i];
  }
  return canvas;
}

void fill_with_masks(Canvas& canvas, const int32_t* lengths, int32_t mask) {
  for (int i = 0; i < canvas.rows; ++i)
    canvas.starts[i + 1] = canvas.starts[i] + (lengths[i] < canvas.limits[i] ? lengths[i] : canvas.limits[i]);
  for (int i = 0; i < canvas.total(); ++i) {
    canvas.tokens[i] = mask;
    canvas.log_probs[i] = 0;
  }
}

void keep_rows(Canvas& canvas, const int32_t* rows, int count) {
  // Every row moves left or stays, so nothing is written over before it is read.
  int end = 0;
  for (int i = 0; i < count; ++i) {
    const int row = rows[i], first = canvas.starts[row], length = canvas.length(row);
    memmove(canvas.tokens + end, canvas.tokens + first, sizeof(int32_t) * size_t(length));
    memmove(canvas.log_probs + end, canvas.log_probs + first, sizeof(float) * size_t(length));
    canvas.candidates[i] = canvas.candidates[row];
    canvas.limits[i] = canvas.limits[row];
    canvas.passes[i] = canvas.passes[row];
    canvas.starts[i] = end;
    end += length;
  }
  canvas.starts[count] = end;
  canvas.rows = count;
}

void keep_tokens(Canvas& canvas, const int32_t* keep) {
  int from = 0, end = 0;
  for (int row = 0; row < canvas.rows; ++row) {
    for (const int last = canvas.starts[row + 1]; from < last; ++from) {
      if (!keep[from]) continue;
      canvas.tokens[end] = canvas.tokens[from];
      canvas.log_probs[end] = canvas.log_probs[from];
      ++end;
    }
    canvas.starts[row + 1] = end;
  }
}

void insert_masks(Canvas& canvas, const int32_t* counts, int32_t mask) {
  int end = canvas.total();
  for (int slot = 0; slot < canvas.slots(); ++slot) end += counts[slot];
  // From the right: every token moves right or stays, so nothing is written over before it is read.
  for (int row = canvas.rows - 1; row >= 0; --row) {
    const int first = canvas.starts[row], length = canvas.length(row);
    const int32_t* of_slots = counts + canvas.first_slot(row);
    canvas.starts[row + 1] = end;
    for (int slot = length; slot >= 0; --slot) {
      for (int i = 0; i < of_slots[slot]; ++i) {
        canvas.tokens[--end] = mask;
        canvas.log_probs[end] = 0;
      }
      if (slot == 0) continue;
      canvas.tokens[--end] = canvas.tokens[first + slot - 1];
      canvas.log_probs[end] = canvas.log_probs[first + slot - 1];
    }
  }
}

void cap(int32_t* counts, const float* log_probs, int slots, int room, Arena& arena) {
  int64_t wanted = 0;
  for (int slot = 0; slot < slots; ++slot) wanted += counts[slot];
  if (wanted <= room) return;
  Arena::Mark before = arena.mark();
  int32_t* granted = arena.zeros<int32_t>(size_t(slots));
  while (room > 0) {
    int best = -1;
    for (int slot = 0; slot < slots; ++slot)
      if (counts[slot] && (best < 0 || log_probs[slot] > log_probs[best])) best = slot;
    granted[best] = counts[best] < room ? counts[best] : room;
    room -= granted[best];
    counts[best] = 0;
  }
  memcpy(counts, granted, sizeof(int32_t) * size_t(slots));
  arena.release(before);
}

}  // namespace sd
