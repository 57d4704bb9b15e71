// Multi-head scaled dot-product attention (Vaswani et al. 2017, equation 1) without padding.
#pragma once
#include "arena.h"
#include "ragged.h"
#include "vectors.h"

namespace sd {

// Keys and values: row r of keys starts at key + r * stride, of values at value + r * value_stride. With heads, a row
// holds them side by side, dim / heads floats each (any number); a key and value from one product of [2 dim] outputs
// are (kv, kv + dim, 2 * dim, 2 * dim).
struct Memory {
  const float *key, *value;
  int key_stride, value_stride;
};

// Every query of list i attends to all rows of keys.list[i]: list `sentences[i]` of `keys`, or list i where sentences
// is nullptr. Encoder self-attention: queries and keys are the same lists. Cross-attention of a beam: list i of the
// queries is the live hypotheses of a sentence. One head of dim: the attention of recurrent students.
//
//   out[row] = concatenated over heads: sum_t softmax_t(query . key_t / sqrt(dim / heads)) value_t
//
// A query without keys gets zeros. Rows of out lie out_stride apart and are not those of query.
void attend(const float* query, int query_stride, Ragged queries, const Memory& memory, Ragged keys,
            const int32_t* sentences, int heads, int dim, float* out, int out_stride, Arena& arena);

// Query row i attends to the cache rows table[i * table_stride + 0 .. lengths[i]), in this order: the hypotheses of a
// beam share rows of one cache, and a new parent changes numbers, not keys and values. After two steps of a beam of two
// that both continue hypothesis 1 (rows 0 and 1 were written by step 1, 2 and 3 by step 2):
//
//   table  1 2      lengths  2
//          1 3               2
void attend_rows(const float* query, int query_stride, int rows, const Memory& cache, const int32_t* table,
                 int table_stride, const int32_t* lengths, int heads, int dim, float* out, int out_stride,
                 Arena& arena);

}  // namespace sd
