// The programs of a sweep, made by running the step templates once on symbols.
//
//     prologue   once a block: what depends on parameters, constants and the length of uniform steps alone
//     forward    at record k:  x_k, u_k -> x_{k+1} in the next record, J, and the cut for the way back
//     terminal   at record N:  J, J_a, e, and p_N
//     backward   at record k:  p_{k+1} in the next record -> p_k, dJ_a/du_k, sums for theta and t1
//
// The cut: what the forward pass computed and the backward pass needs. It is stored in the record of the node unless
// it is cheap to make again.
#pragma once

#include "pontryagin/tableau.hpp"
#include "recorder/assembler.hpp"
#include "recorder/graph_model.hpp"

namespace pontryagin {

// What a sweep is asked for, as far as its programs depend on it.
struct SweepRequest {
  bool linear_control = false;
  bool linear_data = false;
  bool backward = false;
  bool keep_state = false;  // x and p stay side by side in the records instead of p replacing x
  bool extended = false;    // derivatives in theta and t1, cotangents
  bool uniform = false;     // all steps of one length, so that what depends on it alone is computed once
};

// Slots of the fixed bank that the driver fills or reads.
struct FixedSlots {
  int span = 0, h = 0, t = 0, omega_0 = 0, cost = 0, objective = 0, lagrangian = 0, span_adjoint = 0;
  int theta = 0, theta_adjoint = 0, nu = 0, rho = 0, e = 0;
  int constants = 0;  // first slot of the constants
  int count = 0;      // all slots, temporaries included
};

// Slots of one record, [x][u][d][p][u_adjoint][x_cotangent][cut].
struct RecordSlots {
  int x = 0, u = 0, d = 0, p = 0, u_adjoint = 0, x_cotangent = 0, cut = 0;
  int count = 0;
};

struct SweepPrograms {
  SweepRequest request;
  ModelSizes sizes;
  FixedSlots fixed;
  RecordSlots record;
  std::vector<double> constants;
  Program prologue, forward, terminal, backward;
};

SweepPrograms make_sweep_programs(const ModelCode& code, const Tableau& tableau, double t0,
                                  const SweepRequest& request);

// H = L + p.f, H_x, H_u at single points: everything in one record,
// [t][x n][p n][u m][d nd][H][H_x n][H_u m], with theta in the fixed bank.
struct PointPrograms {
  ModelSizes sizes;
  int theta = 0, constants_first = 0, fixed_count = 0;
  int t = 0, x = 0, p = 0, u = 0, d = 0, h = 0, h_x = 0, h_u = 0, record_count = 0;
  std::vector<double> constants;
  Program program;
};

PointPrograms make_point_programs(const ModelCode& code);

}  // namespace pontryagin
