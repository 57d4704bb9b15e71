// What is left of a recurrent layer once its input products are done: SRU, SSRU, GRU, LSTM; torch's gate order.
#pragma once
#include "arena.h"
#include "linear.h"
#include "ragged.h"
#include "vectors.h"

namespace sd {

// Rows of floats that lie `stride` apart.
struct ConstRows {
  const float* at;
  int stride;
  const float* row(int i) const { return at + long(i) * stride; }
};
struct Rows {
  float* at;
  int stride;
  float* row(int i) const { return at + long(i) * stride; }
  operator ConstRows() const { return {at, stride}; }
};

// SRU (Lei et al. 2018), one direction of `dim`. A row of `projected` has, side by side, candidate, forget gate, reset
// gate
// [, fourth matrix], `dim` floats each, with biases; `recurrent` is vf then vr, dim floats each.
//
//   f = s(forget + vf c')   c = candidate + f (c' - candidate)   r = s(reset + vr c')   h = skip + r (c - skip)
//
// c' is the previous cell, skip = scale * (the fourth matrix's output, or the input itself where there is none).
struct Sru {
  int dim;
  bool fourth;
  float scale;
  const float* recurrent;
};
// One more token of `rows` sequences; `input` is read only without a fourth matrix. Cells are updated in place.
void sru_step(const Sru& sru, int rows, ConstRows projected, ConstRows input, Rows cell, Rows hidden);
// All tokens of all sentences, backward from the last token where asked; cell.row(i) is that of sentence i: the initial
// state going in, the state after the last token read coming out.
void sru_scan(const Sru& sru, Ragged sentences, bool backward, ConstRows projected, ConstRows input, Rows cell,
              Rows hidden);

// SSRU (Kim et al. 2019): candidate, forget gate (with bias) side by side; c = candidate + s(forget) (c' - candidate),
// h = relu(c).
void ssru_step(int dim, int rows, ConstRows projected, Rows cell, Rows hidden);
void ssru_scan(int dim, Ragged sentences, bool backward, ConstRows projected, Rows cell, Rows hidden);

// GRU as torch.nn.GRU: `from_input` and `from_hidden` are W_i x + b_i and W_h h + b_h, gates r, z, n side by side.
//   r = s(ir + hr)   z = s(iz + hz)   n = tanh(in + r hn)   h = n + z (h' - n)
// `state` is h, updated in place.
void gru_step(int dim, int rows, ConstRows from_input, ConstRows from_hidden, Rows state);
// LSTM as torch.nn.LSTM, gates i, f, g, o side by side: c = s(f) c' + s(i) tanh(g), h = s(o) tanh(c). Both in place.
void lstm_step(int dim, int rows, ConstRows from_input, ConstRows from_hidden, Rows state, Rows cell);

// All tokens of all sentences; `recurrent` is W_h with b_h. states (and cells) hold a row a sentence: the initial ones
// going in, those after the last token read coming out.
void gru_scan(const Linear& recurrent, Ragged sentences, bool backward, ConstRows from_input, Rows state, Rows hidden,
              Arena& arena);
void lstm_scan(const Linear& recurrent, Ragged sentences, bool backward, ConstRows from_input, Rows state, Rows cell,
               Rows hidden, Arena& arena);

}  // namespace sd
