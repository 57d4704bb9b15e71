// Recurrent layers of one direction, of any cell: SRU, SSRU, GRU or LSTM (nn/recurrent.py, nn/ssru.py).
#pragma once
#include "model.h"
#include "recurrence.h"

namespace sd {

enum Cell { CELL_SRU, CELL_SSRU, CELL_GRU, CELL_LSTM };

// What the steps of a layer carry: of an LSTM the hidden state and the cell, otherwise one of them.
inline int states_of(int cell) { return cell == CELL_LSTM ? 2 : 1; }

struct RecurrentLayer {
  int cell, dim;
  Linear input;      // all gates side by side
  Linear recurrent;  // of GRU and LSTM
  Sru sru;           // of SRU
};

// The cell that the setting "cell" names.
int cell_of(const Parts& parts);

// A layer named `layer`, of one of its directions. Its tensors: weight.D and bias.D of all gates, and of SRUs the
// vector recurrent.D, of GRU and LSTM the matrix recurrent.D and the vector recurrent_bias.D. `scale` is that of SRUs.
RecurrentLayer recurrent_layer(const Parts& layer, int cell, int inputs, int dim, int direction, float scale);

// States of rows: `first` what the layer shows (GRU, LSTM) or its cell, `second` the cell of an LSTM.
struct States {
  Rows first, second;
};

// Reads all sentences. `x` are the rows of the input, `read` the same for products; states as in recurrence.h.
void scan(const RecurrentLayer& layer, Ragged sentences, bool backward, ConstRows x, const Quantized& read,
          const States& states, Rows hidden, Arena& arena);

// Reads one more token for each row; returns the hidden states, which lie in the arena or are the states themselves.
ConstRows step(const RecurrentLayer& layer, int rows, ConstRows x, const States& states, Arena& arena);

// States of all layers for the rows of a search: a row of a layer holds its states side by side.
class LayerStates {
 public:
  LayerStates(int layers, int cell, int dim, int rows, Arena& arena);

  States layer(int number) { return part(number, 0); }
  // From the `offset`-th number of each state on: the part of a direction.
  States part(int number, int offset);
  // Row i becomes what was row parents[i].
  void select(const int32_t* parents, int rows);

 private:
  int layers, dim, width, room;
  float *stored, *spare;  // [layers][room][width]
};

}  // namespace sd
