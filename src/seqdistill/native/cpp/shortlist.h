// Shortlists: which ids of a target vocabulary the sentences of a batch need.
#pragma once
#include "api.h"

// The table of a model, as shortlist.bin holds it. Whoever fills it has checked that every id is in its vocabulary.
struct SdShortlist {
  const int32_t* starts;  // [source_vocab + 1]: targets[starts[s] .. starts[s + 1]) translate source id s
  const int32_t* common;  // [common_count] ids that every sentence may use
  const void* targets;    // of `width` bytes each, unsigned
  int32_t width, common_count, source_vocab, target_vocab;
};

// Writes the shortlist of each sentence, ascending; returns how many ids all have together.
//
// marks: (target_vocab + 63) / 64 numbers to work with. values: room for all; a sentence of n tokens has at most
// common_count + n * (the most translations of an id), and at most target_vocab. ends: as of SdLists.
SD_EXPORT int64_t sd_shortlists(const SdShortlist* table, const SdLists* sources, int32_t sentences, uint64_t* marks,
                                int32_t* values, int64_t* ends);
