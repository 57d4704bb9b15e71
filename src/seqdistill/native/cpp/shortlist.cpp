// The shortlist of each sentence of a batch: the ids that all share, and the translations of its own pieces.
#include "shortlist.h"

namespace sd {
namespace {

// A set of target ids, a bit each.
struct Marks {
  uint64_t* words;
  int count;

  void add(int64_t id) { words[id >> 6] |= uint64_t(1) << (id & 63); }

  // Writes the ids, ascending; returns what follows the last.
  int32_t* write(int32_t* to) const {
    for (int word = 0; word < count; ++word)
      for (uint64_t left = words[word]; left; left &= left - 1) *to++ = word * 64 + __builtin_ctzll(left);
    return to;
  }
};

// Most ids of all sentences together.
size_t room(const SdShortlist& table, const SdLists& sources, int sentences) {
  size_t total = 0;
  int64_t at = 0;
  for (int i = 0; i < sentences; ++i) {
    size_t most = size_t(table.common_count);
    for (; at < sources.ends[i]; ++at)
      most += size_t(table.starts[sources.values[at] + 1] - table.starts[sources.values[at]]);
    total += most < size_t(table.target_vocab) ? most : size_t(table.target_vocab);
  }
  return total;
}

template <typename Id>
SdLists unions(const SdShortlist& table, const Id* targets, const SdLists& sources, int sentences, Arena& arena) {
  int32_t* values = arena.array<int32_t>(room(table, sources, sentences));
  int64_t* ends = arena.array<int64_t>(size_t(sentences));
  const int words = (table.target_vocab + 63) / 64;
  Marks common = {arena.zeros<uint64_t>(size_t(words)), words}, all = {arena.array<uint64_t>(size_t(words)), words};
  for (int32_t i = 0; i < table.common_count; ++i) common.add(table.common[i]);
  int32_t* to = values;
  int64_t at = 0;
  for (int i = 0; i < sentences; ++i) {
    memcpy(all.words, common.words, sizeof(uint64_t) * size_t(words));
    for (; at < sources.ends[i]; ++at) {
      const int32_t source = sources.values[at];
      for (int32_t k = table.starts[source]; k < table.starts[source + 1]; ++k) all.add(targets[k]);
    }
    to = all.write(to);
    ends[i] = to - values;
  }
  return {values, ends};
}

}  // namespace

SdLists shortlists_of(const SdShortlist& table, const SdLists& sources, int sentences, Arena& arena) {
  if (table.width == 2) return unions(table, static_cast<const uint16_t*>(table.targets), sources, sentences, arena);
  return unions(table, static_cast<const uint32_t*>(table.targets), sources, sentences, arena);
}

}  // namespace sd
