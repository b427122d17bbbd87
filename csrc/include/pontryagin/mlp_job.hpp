// A sweep of a multilayer perceptron over a batch as plain data, in the caller's layout. A null pointer is "not given" for
// an input and "not wanted" for an output.
#pragma once

#include "mlp.hpp"
#include "tableau.hpp"

namespace pontryagin {

// Running cost q/2 |x|^2 + r/2 |f|^2 of a sample, summed over steps and stages with the weights h_n b_i.
struct MlpCost {
  double state = 0.0, velocity = 0.0;
  PMP_HD constexpr bool any() const { return state != 0.0 || velocity != 0.0; }
};

// What is kept of a stage: rows, the state first; the velocity from row `velocity_row` on, -1 where it is not kept.
struct MlpRecord {
  int dim = 0, rows = 0, velocity_row = -1;
};

template <class T>
struct MlpJob {
  const MlpNet* net = nullptr;
  const Tableau* tableau = nullptr;
  MlpCost running;
  // the grid, and the row of weights of each stage of each step
  int steps = 0;
  double t0 = 0.0;
  const double* start = nullptr;   // [N] time at which a step begins: filled in by the sweeper
  const double* length = nullptr;  // [N]
  const int* rows = nullptr;       // [N][s]
  MlpWeights<T> weights;
  const T* initial_state = nullptr;  // [B][D]
  // the end: a costate, or a target that makes the costate 2 scale (x1 - target)
  const T* final_costate = nullptr;   // [B][D]
  const T* target = nullptr;          // [B][D]
  const T* cost_cotangent = nullptr;  // [B]; otherwise cost_scale for all
  double scale = 0.0, cost_scale = 0.0;
  bool backward = false;  // gradients are wanted
  bool replay = false;    // the tape holds the way forward already
  // results
  T* final_state = nullptr;       // [B][D]
  T* cost = nullptr;              // [B]
  T* initial_gradient = nullptr;  // [B][D]
};

// What one block has for itself, or shares with those that run before and after it on the same thread.
template <class T>
struct MlpPart {
  long first = 0;
  int count = 0;
  T* tape = nullptr;          // of the whole horizon, or of a segment; otherwise a segment of it lies in the workspace
  T* starts = nullptr;        // beside a tape: the states at the start of each segment
  int segment = 0;            // beside a tape: its steps; 0 is the whole horizon
  T* sums = nullptr;          // [rows of weights][row_size], added to; of a block of a GPU see mlp_block_field.hpp
  long long weight_rows = 0;  // for these
  double* value = nullptr;    // scale sum |x1 - target|^2 + cost_scale sum cost, added to
  void* workspace = nullptr;
};

}  // namespace pontryagin
