// The words that the outputs of a sentence may be made of: all, or those of a list.
#pragma once
#include "model.h"

namespace sd {

struct Vocabulary {
  Linear output;       // of a list: a packed copy of its rows alone
  const int32_t* ids;  // of each output, ascending; nullptr: each output is its own id
  int eos;             // the output of EOS

  int id(int place) const { return ids ? ids[place] : place; }
  int place(int id) const;  // the output of an id; -1 if the list does not have it
};

// All words; `output` has a bias of -infinity for those that are never written.
Vocabulary all_words(const SpecialIds& special, const Linear& output);

// The words of the list and EOS, in the arena; without those that are never written.
Vocabulary listed_words(const SpecialIds& special, const Linear& output, Ids list, Arena& arena);

}  // namespace sd
