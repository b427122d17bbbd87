// A batch of sweeps over raw addresses: what every compiled tier is called with. 0 is "not given" or "not wanted".
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>

#include "pontryagin/job.hpp"

namespace pontryagin {

using Pointer = std::uintptr_t;

// tau, control, initial state, final time, parameters, data, multipliers, penalties, objective cotangent, state
// cotangent; objective, lagrangian, terminal, state, costate, derivatives in control, initial state, parameters, final
// time.
using SweepAddresses = std::array<Pointer, 19>;

template <class T>
T* at(Pointer address) {
  return reinterpret_cast<T*>(address);
}

inline bool ctrl_c() {
  const pybind11::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

inline void throw_if_stopped(bool completed) {
  if (!completed) throw pybind11::error_already_set();
}

template <class T>
SweepJob<T> job_of(int steps, double t0, long control_stride, long data_stride, const SweepAddresses& p) {
  SweepJob<T> job;
  job.steps = steps, job.t0 = t0, job.control_stride = control_stride, job.data_stride = data_stride;
  job.tau = at<double>(p[0]), job.control = at<T>(p[1]), job.initial_state = at<T>(p[2]), job.final_time = at<T>(p[3]);
  job.parameters = at<T>(p[4]), job.data = at<T>(p[5]), job.multipliers = at<T>(p[6]), job.penalties = at<T>(p[7]);
  job.objective_cotangent = at<T>(p[8]), job.state_cotangent = at<T>(p[9]);
  job.objective = at<T>(p[10]), job.lagrangian = at<T>(p[11]), job.terminal = at<T>(p[12]);
  job.state = at<T>(p[13]), job.costate = at<T>(p[14]), job.control_derivative = at<T>(p[15]);
  job.initial_state_derivative = at<T>(p[16]), job.parameter_derivative = at<T>(p[17]);
  job.final_time_derivative = at<T>(p[18]);
  return job;
}

template <class Sweeper>
void run_with(Sweeper& sweeper, bool single, int steps, double t0, long batch, long control_stride, long data_stride,
              int threads, const SweepAddresses& p) {
  if (steps < 1 || batch < 1) throw pybind11::value_error("a sweep needs at least one step and one problem");
  bool completed;
  {
    const pybind11::gil_scoped_release release;
    completed = single ? sweeper.run(job_of<float>(steps, t0, control_stride, data_stride, p), batch, threads, ctrl_c)
                       : sweeper.run(job_of<double>(steps, t0, control_stride, data_stride, p), batch, threads, ctrl_c);
  }
  throw_if_stopped(completed);
}

}  // namespace pontryagin
