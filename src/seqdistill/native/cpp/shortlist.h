// Shortlists: which ids of a target vocabulary the sentences of a batch need.
#pragma once
#include "api.h"
#include "arena.h"

// The table of a model, as shortlist.bin holds it. Whoever fills it has checked that every id is in its vocabulary.
struct SdShortlist {
  const int32_t* starts;  // [source_vocab + 1]: targets[starts[s] .. starts[s + 1]) translate source id s
  const int32_t* common;  // [common_count] ids that every sentence may use
  const void* targets;    // of `width` bytes each, unsigned
  int32_t width, common_count, source_vocab, target_vocab;
};

namespace sd {

// The shortlist of each sentence, ascending, in the arena; ids of sources are within the table's vocabulary.
SdLists shortlists_of(const SdShortlist& table, const SdLists& sources, int sentences, Arena& arena);

}  // namespace sd
