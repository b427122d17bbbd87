// What Newton's method is told: the statement of a batch of problems on one grid, and its functions, as plain data.
//
// It is that of pontryagin/shooting.py, where every array is explained. Sizes: x (n) with the integrals, u (m), all
// parameters theta (q), data d (nd); z = (s, v) with s = (x, [u_k of a linear control], optimised theta, t1 if it is free).
#pragma once

#include "tableau.hpp"

// Sizes of arrays on the stack: components of y, equalities at the end. A kernel is told those of its problem.
#ifndef PMP_MOST_COMPONENTS
#define PMP_MOST_COMPONENTS 512
#define PMP_MOST_END_EQUALITIES 64
#endif

namespace pontryagin {

// Functions of a point, values apart from derivatives: steps, path constraints, the end, the start.
namespace point {
enum Function {
  stage_values,   // T f, T L
  stage_slopes,   // the same and the entries of their Jacobian
  stage_hessian,  // of w L + m.f
  path_values,
  path_slopes,
  path_hessian,  // of mu.c
  end_values,    // phi, equalities, inequalities
  end_slopes,
  end_hessian,  // of omega.(phi, ...)
  start_values,
  start_slopes,
  start_hessian,
  count
};
}  // namespace point

// Where the entries of a matrix stand, in y = (x, u, optimised theta, t1); lower triangles of Hessians.
struct Entries {
  int count = 0;
  const int *row = nullptr, *column = nullptr;
};

// Lanes of a tile for many problems.
constexpr int newton_lanes = 8;

// Whole steps of one method, `newton_lanes` of them side by side, in rows of so many numbers: what NewtonStages (
// newton_stages.hpp) is given and what it finds. Costates, the weight of the cost and all but F and l are of derivatives.
struct StepRows {
  const double *s, *v, *d, *theta, *tau, *h;
  double *next, *cost;
  const double *costate = nullptr, *weight = nullptr;
  double *jacobian = nullptr, *gradient = nullptr, *hessian = nullptr;
};

// One step of the Riccati recursion, as in newton_riccati.hpp: what it needs of the next one, F_z, H and delta w_k; what it
// finds. Then the two passes of a solution, what it leaves over, and what the end needs, with the sum so far and after it.
struct RiccatiRows {
  const double *next_value, *jacobian, *hessian, *regular, *proximal;
  double *value, *gain, *factor, *good;
};
struct RiccatiPullRows {
  const double *next_slope, *next_value, *next_columns, *defect, *jacobian, *gradient, *gain, *factor, *feed, *rest;
  double *slope, *kappa, *left;
};
struct RiccatiMoveRows {
  const double *slope, *value, *columns, *gain, *kappa, *feed, *jacobian, *defect, *nu, *state;
  double *costate, *step, *control, *next_state;
};
struct RiccatiLeftRows {
  const double *next_costate, *costate, *jacobian, *hessian, *gradient, *regular, *proximal, *state, *control;
  double* left;
};
struct RiccatiEndRows {
  const double *next_columns, *jacobian, *gain, *factor, *sum;
  double *columns, *feed, *added;
};

// The smallest pivot of what is positive definite, relative to the diagonal.
constexpr double definite_pivot = 1e-12;

// The functions for packs of one width. Arguments and results are rows of W numbers: the arguments of all functions lie in
// one order, results from `output` on.
struct PointFunctions {
  void (*call[point::count])(const void* self, double* rows, void* fixed) = {};
  const void* self[point::count] = {};
  long fixed_bytes[point::count] = {};  // memory that a function wants for itself, filled once by `prepare`
  void (*prepare[point::count])(const void* self, void* fixed) = {};
  // Whole steps, where there are such: with exact Hessians.
  void (*step_values)(const StepRows& rows) = nullptr;
  void (*step_derivatives)(const StepRows& rows) = nullptr;
  void (*two_step_values)(const StepRows& rows) = nullptr;  // rows of two steps, one after the other
  void (*riccati_back)(const RiccatiRows& rows) = nullptr;
  void (*riccati_pull)(const RiccatiPullRows& rows) = nullptr;
  void (*riccati_move)(const RiccatiMoveRows& rows) = nullptr;
  void (*riccati_left)(const RiccatiLeftRows& rows) = nullptr;
  void (*riccati_end)(const RiccatiEndRows& rows) = nullptr;
};

// Rows of the arguments, and where results begin.
struct PointRows {
  int tau = 0, x = 0, u = 0, theta = 0, t1 = 0, d = 0, weights = 0;  // weights: w and m, or mu, or omega
  int output = 0, hessian = 0, count = 0;                            // hessian: where those results begin
};

// One inequality at one node: a bound of z or a row of c.
struct Inequality {
  int index;      // 0..nz-1 low, nz..2nz-1 high, then c
  double bound;   // with some room
  double weight;  // of its node
};

struct NewtonProblem {
  int steps = 0;
  int n = 0, m = 0, q = 0, nd = 0;
  int optimised_count = 0;
  const int* optimised = nullptr;  // places in theta
  bool free_time = false, linear_control = false, linear_data = false;
  int ns = 0, nv = 0, nz = 0;
  int paths = 0, ends = 0, equalities = 0, rows = 0;  // rows of c: paths, then the inequalities of the end
  Tableau tableau;
  const double* nodes = nullptr;                 // [N+1]
  const double* weights = nullptr;               // [N+1]
  const double* bound_weights = nullptr;         // [N+1][nz]
  const double* path_weights = nullptr;          // [N+1][rows]
  const unsigned char* free = nullptr;           // [ns]
  const unsigned char* active = nullptr;         // [N+1][rows]
  const double* half_width = nullptr;            // [nz] of bounds, infinite where there are none
  const unsigned char* control = nullptr;        // [nz] whether it is scaled as a control
  const double *low = nullptr, *high = nullptr;  // [N+1][nz] with some room
  const Inequality* inequality = nullptr;        // sorted by nodes
  const int* first_inequality = nullptr;         // [N+2]
  Entries stage_jacobian, stage_hessian, path_jacobian, path_hessian, end_jacobian, end_hessian, start_jacobian,
      start_hessian;
  PointRows rows_of_points;
  int inequality_count() const { return first_inequality[steps + 1]; }
};

// The meaning of every number is beside it in pontryagin/optim/newton/result.py.
struct NewtonSettings {
  double tolerance, barrier, warm_barrier, barrier_factor, barrier_power, barrier_solved, first_regularisation,
      largest_regularisation, penalty;
  int max_iterations, trials, patience;
  bool exact, warm;
  bool inside;  // guesses are moved strictly inside of their bounds
  double smallest_barrier() const { return tolerance / 1000; }
};

enum class NewtonStatus : int { running, converged, unbounded, not_finite, infeasible, stalled, max_iterations };

// The numbers of B problems, in Python's order: [problem][node][component].
struct NewtonBatch {
  long batch = 0;
  const double *initial = nullptr, *theta = nullptr;
  const double* data = nullptr;
  long data_stride = 0;                                                                // 0 where the problems share it
  double *state = nullptr, *control = nullptr;                                         // in and out
  double *costate = nullptr, *end = nullptr, *sigma = nullptr, *multiplier = nullptr;  // in where known, and out
  const unsigned char* known = nullptr;
  // out: measures (B, 4) objective, dual, primal, complementarity; scales (B, nz), (B,), (B, r), (B, rows)
  double *measures = nullptr, *scale_z = nullptr, *scale_weight = nullptr, *scale_end = nullptr, *scale_path = nullptr;
  int *status = nullptr, *iterations = nullptr;
};

// One row of the history, over the problems that had so many iterations: a count, a sum, and the largest or smallest.
struct NewtonRow {
  double running = 0, objective = 0, dual = 0, primal = 0, complementarity = 0, barrier = 0, step = 1,
         regularisation = 0;
};

}  // namespace pontryagin
