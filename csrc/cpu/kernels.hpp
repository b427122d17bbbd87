// What the instruction-set specific translation units offer to the rest: plain structs and function pointers only,
// so that no inline function of theirs can be merged into the baseline by the linker.
#pragma once

#include "pontryagin/interpreter_types.hpp"
#include "pontryagin/job.hpp"

namespace pontryagin {

// A sweep's programs, linked for one kernel, with the places of what the driver fills and reads. Those of a step and of
// the end exist for nodes of both parities, which differ for one lane.
struct LinkedSweep {
  const Linked *prologue = nullptr, *forward[2] = {}, *terminal[2] = {}, *backward[2] = {};
  const double* constants = nullptr;
  int constant_count = 0;
  int n = 0, m = 0, q = 0, nd = 0, r = 0;
  bool linear_control = false, linear_data = false, with_backward = false, extended = false, uniform = false;
  bool timed = true;   // whether a step's programs read the time
  int head_count = 0;  // leading slots of a record: all but the cut
  // slots of the fixed bank
  int span, h, t, omega_0, cost, objective, lagrangian, span_adjoint, theta, theta_adjoint, nu, rho, e, first_constant;
  int fixed_count;
  // slots of a record
  int x, u, d, p, u_adjoint, x_cotangent, record_count;
};

// Values of H and its derivatives at `count` single points, one row a point.
template <class T>
struct PointJob {
  const T *time = nullptr, *state = nullptr, *costate = nullptr, *control = nullptr, *parameters = nullptr,
          *data = nullptr;
  T *hamiltonian = nullptr, *state_gradient = nullptr, *control_gradient = nullptr;
};

struct LinkedPoints {
  const Linked* program = nullptr;
  const double* constants = nullptr;
  int constant_count = 0;
  int n = 0, m = 0, q = 0, nd = 0;
  int theta, first_constant, fixed_count;
  int t, x, p, u, d, h, h_x, h_u, record_count;
};

// The kernels for one number of lanes. `workspace` is aligned to 64 bytes.
template <class T>
struct LaneKernel {
  int lanes = 0;
  const void* const* handlers = nullptr;  // [operation][variant]
  void (*sweep)(const SweepJob<T>& job, const LinkedSweep& linked, long first, int count, void* workspace) = nullptr;
  void (*points)(const PointJob<T>& job, const LinkedPoints& linked, long first, int count, void* workspace) = nullptr;
  // A program of its own, over the fixed bank and one record; more than one lane.
  void (*run)(const Linked* program, void* fixed, void* record) = nullptr;
};

constexpr int lane_choices = 3;

// Kernels of one instruction set, from one lane to the widest.
struct KernelSet {
  const char* name;
  LaneKernel<double> f64[lane_choices];
  LaneKernel<float> f32[lane_choices];
};

// The best set that this processor runs. PONTRYAGIN_ISA in the environment may name a lesser one.
const KernelSet& kernel_set();

}  // namespace pontryagin
