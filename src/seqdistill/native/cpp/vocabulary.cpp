#include "vocabulary.h"

namespace sd {
namespace {

int ascending(const void* a, const void* b) {
  int32_t first = *static_cast<const int32_t*>(a), second = *static_cast<const int32_t*>(b);
  return (first > second) - (first < second);
}

// Puts an id into an ascending list that has room for it.
void insert(int32_t* ids, int count, int32_t id) {
  int at = count;
  for (; at > 0 && ids[at - 1] > id; --at) ids[at] = ids[at - 1];
  ids[at] = id;
}

bool is_sorted(const int32_t* ids, int count) {
  for (int i = 1; i < count; ++i)
    if (ids[i - 1] >= ids[i]) return false;
  return true;
}

}  // namespace

int Vocabulary::place(int id) const {
  if (!ids) return id;
  int low = 0, high = output.outputs;  // where it is if it is there: low <= place < high
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    (ids[middle] <= id ? low : high) = middle;
  }
  return ids[low] == id ? low : -1;
}

Vocabulary all_words(const SpecialIds& special, const Linear& output) { return {output, nullptr, special.eos}; }

Vocabulary listed_words(const SpecialIds& special, const Linear& output, Ids list, Arena& arena) {
  int32_t* ids = arena.array<int32_t>(size_t(list.count) + 1);
  if (list.count) memcpy(ids, list.values, sizeof(int32_t) * size_t(list.count));
  if (!is_sorted(ids, list.count)) qsort(ids, size_t(list.count), sizeof *ids, ascending);
  insert(ids, list.count, special.eos);
  int count = list.count + 1, kept = 0;
  for (int i = 0; i < count; ++i)
    if ((!kept || ids[kept - 1] != ids[i]) && !special.never_written.hold(ids[i])) ids[kept++] = ids[i];
  Vocabulary words = {shortlisted(output, ids, kept, arena), ids, 0};
  words.eos = words.place(special.eos);
  return words;
}

}  // namespace sd
