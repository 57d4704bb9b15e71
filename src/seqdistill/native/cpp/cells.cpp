#include "cells.h"

namespace sd {

int cell_of(const Parts& parts) {
  const char* const names[] = {"sru", "ssru", "gru", "lstm"};
  return parts.choice("cell", names, 4);
}

RecurrentLayer recurrent_layer(const Parts& layer, int cell, int inputs, int dim, int direction, float scale) {
  auto named = [&](const char* name, char* room, size_t size) {
    snprintf(room, size, "%s.%d", name, direction);
    return room;
  };
  char name[32];
  bool fourth = cell == CELL_SRU && inputs != dim;
  int gates = cell == CELL_SSRU ? 2 : cell == CELL_GRU || (cell == CELL_SRU && !fourth) ? 3 : 4;
  RecurrentLayer made = {cell, dim, layer.matrix(named("weight", name, sizeof name), gates * dim, inputs), {}, {}};
  made.input.bias = layer.vector(named("bias", name, sizeof name), gates * dim);
  if (cell == CELL_SRU) {
    made.sru = {dim, fourth, scale, layer.vector(named("recurrent", name, sizeof name), 2 * dim)};
  } else if (cell != CELL_SSRU) {
    made.recurrent = layer.matrix(named("recurrent", name, sizeof name), gates * dim, dim);
    made.recurrent.bias = layer.vector(named("recurrent_bias", name, sizeof name), gates * dim);
  }
  return made;
}

void scan(const RecurrentLayer& layer, Ragged sentences, bool backward, ConstRows x, const Quantized& read,
          const States& states, Rows hidden, Arena& arena) {
  Arena::Mark before = arena.mark();
  int width = layer.input.outputs;
  Rows projected = {arena.array<float>(size_t(sentences.rows()) * size_t(width)), width};
  linear(layer.input, read, projected.at, width);
  switch (layer.cell) {
    case CELL_SRU:
      sru_scan(layer.sru, sentences, backward, projected, x, states.first, hidden);
      break;
    case CELL_SSRU:
      ssru_scan(layer.dim, sentences, backward, projected, states.first, hidden);
      break;
    case CELL_GRU:
      gru_scan(layer.recurrent, sentences, backward, projected, states.first, hidden, arena);
      break;
    default:
      lstm_scan(layer.recurrent, sentences, backward, projected, states.first, states.second, hidden, arena);
  }
  arena.release(before);
}

ConstRows step(const RecurrentLayer& layer, int rows, ConstRows x, const States& states, Arena& arena) {
  int width = layer.input.outputs, dim = layer.dim;
  Rows projected = {arena.array<float>(size_t(rows) * size_t(width)), width};
  linear(layer.input, x.at, rows, x.stride, projected.at, width, arena);
  if (layer.cell == CELL_SRU || layer.cell == CELL_SSRU) {
    Rows hidden = {arena.array<float>(size_t(rows) * size_t(dim)), dim};
    if (layer.cell == CELL_SRU)
      sru_step(layer.sru, rows, projected, x, states.first, hidden);
    else
      ssru_step(dim, rows, projected, states.first, hidden);
    return hidden;
  }
  Rows from_hidden = {arena.array<float>(size_t(rows) * size_t(width)), width};
  linear(layer.recurrent, states.first.at, rows, states.first.stride, from_hidden.at, width, arena);
  if (layer.cell == CELL_GRU)
    gru_step(dim, rows, projected, from_hidden, states.first);
  else
    lstm_step(dim, rows, projected, from_hidden, states.first, states.second);
  return states.first;
}

LayerStates::LayerStates(int layers, int cell, int dim, int rows, Arena& arena)
    : layers(layers), dim(dim), width(dim * states_of(cell)), room(rows) {
  size_t size = size_t(layers) * size_t(room) * size_t(width);
  stored = arena.zeros<float>(size), spare = arena.array<float>(size);
}

States LayerStates::part(int number, int offset) {
  float* at = stored + size_t(number) * size_t(room) * size_t(width) + offset;
  return {{at, width}, {at + dim, width}};  // the second is read only of an LSTM
}

void LayerStates::select(const int32_t* parents, int rows) {
  for (int layer = 0; layer < layers; ++layer)
    for (int row = 0; row < rows; ++row) {
      size_t first = size_t(layer) * size_t(room);
      memcpy(spare + (first + size_t(row)) * size_t(width), stored + (first + size_t(parents[row])) * size_t(width),
             sizeof(float) * size_t(width));
    }
  float* old = stored;
  stored = spare, spare = old;
}

}  // namespace sd
