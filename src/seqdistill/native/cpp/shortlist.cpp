// The shortlist of each sentence of a batch: the ids that all share, and the translations of its own pieces.
#include "shortlist.h"

#include <string.h>

namespace sd {
namespace {

template <typename Id>
int64_t unions(const SdShortlist& table, const Id* targets, const SdLists& sources, int32_t sentences, uint64_t* marks,
               int32_t* values, int64_t* ends) {
  const int words = (table.target_vocab + 63) / 64;
  int64_t total = 0;
  for (int32_t sentence = 0; sentence < sentences; ++sentence) {
    memset(marks, 0, sizeof(uint64_t) * size_t(words));
    for (int32_t i = 0; i < table.common_count; ++i) {
      marks[table.common[i] >> 6] |= uint64_t(1) << (table.common[i] & 63);
    }
    for (int64_t at = sentence ? sources.ends[sentence - 1] : 0; at < sources.ends[sentence]; ++at) {
      const int32_t source = sources.values[at];
      if (source < 0 || source >= table.source_vocab) continue;  // refused by who decodes
      for (int32_t i = table.starts[source]; i < table.starts[source + 1]; ++i) {
        marks[targets[i] >> 6] |= uint64_t(1) << (targets[i] & 63);
      }
    }
    for (int word = 0; word < words; ++word) {
      for (uint64_t left = marks[word]; left; left &= left - 1) {
        values[total++] = word * 64 + __builtin_ctzll(left);
      }
    }
    ends[sentence] = total;
  }
  return total;
}

}  // namespace
}  // namespace sd

int64_t sd_shortlists(const SdShortlist* table, const SdLists* sources, int32_t sentences, uint64_t* marks,
                      int32_t* values, int64_t* ends) {
  if (table->width == 2) {
    const uint16_t* targets = static_cast<const uint16_t*>(table->targets);
    return sd::unions(*table, targets, *sources, sentences, marks, values, ends);
  }
  const uint32_t* targets = static_cast<const uint32_t*>(table->targets);
  return sd::unions(*table, targets, *sources, sentences, marks, values, ends);
}
