// What the rest sees of a tile: plain structs and function pointers, so that tiles may come from a library that was compiled
// at run time.
#pragma once

#include "newton_problem.hpp"

namespace pontryagin {

struct NewtonWork {
  const NewtonProblem* problem;
  const PointFunctions* functions;
  const NewtonSettings* settings;
  const NewtonBatch* batch;
  NewtonRow* history;  // one row for each iteration, or nothing
};

// Results of a sweep over a batch, in Python's order; nothing where something is not wanted.
struct SweepOfSteps {
  double *cost = nullptr, *next = nullptr, *path = nullptr, *end = nullptr;  // (B,), (B, N, ns), (B, N+1, rows), (B, r)
  double *jacobian = nullptr, *gradient = nullptr, *hessian = nullptr, *path_jacobian = nullptr,
         *end_jacobian = nullptr;
  // given: costates, nu, mu of c (B, N+1, rows), weight of J
  const double *costate = nullptr, *nu = nullptr, *mu = nullptr, *weight = nullptr;
  // alone: J_z + p F_z + w mu c_z of the states x in F (B, N+1, nz)
  double* lagrangian = nullptr;
};

// A tile of so many lanes (newton_tile.hpp) in memory that the caller gives it, aligned to 64 bytes.
struct NewtonKernel {
  int lanes = 0;
  long (*bytes)(const NewtonWork& work) = nullptr;
  void* (*make)(const NewtonWork& work, void* memory) = nullptr;
  int (*active)(void* tile) = nullptr;  // lanes with a problem
  void (*add)(void* tile, long problem) = nullptr;
  void (*clear)(void* tile) = nullptr;  // forgets its problems
  void (*iterate)(void* tile) = nullptr;
  int (*told)(void* tile) = nullptr;
  void (*give_up)(void* tile) = nullptr;
  void (*choose_start)(void* tile, double favour) = nullptr;  // of what was added
  void (*sweep)(void* tile, const SweepOfSteps& results, long first, int count, bool slopes) = nullptr;  // as well
};

// For one problem, and for the lanes of a register.
struct NewtonKernelSet {
  NewtonKernel one, many;
};

}  // namespace pontryagin
