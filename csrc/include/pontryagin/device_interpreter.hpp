// Sweeps on a GPU whose formulas are data: recorded programs (recorder/sweep_programs.hpp) run by one thread a problem.
//
// Kernels of this kind are compiled ahead of time and serve every problem, whatever its sizes. A thread takes problem
// after problem; it has a column of the workspace, [slot][thread]: the fixed bank, and a record for each node where there
// is a way back, else of two nodes in turn. Arguments and results are those of other sweeps on a GPU.
#pragma once

#include "device_job.hpp"
#include "device_machine.hpp"
#include "device_points.hpp"
#include "sweep.hpp"

namespace pontryagin {

template <class T>
struct DeviceInterpreterJob {
  DeviceJob<T> job;
  DeviceProgram<T> program;
  T* workspace = nullptr;  // [fixed + records][threads]
  long long records = 0;   // N + 1, or 2
};

template <class T>
struct DevicePointsJob {
  DevicePoints<T> points;
  DevicePointProgram<T> program;
  T* workspace = nullptr;  // [fixed + record][threads]
};

inline namespace PMP_ISA {

template <class T, class Program>
PMP_INLINE void set_constants(DeviceSlots<T> fixed, const Program& program) {
  PMP_ROLLED
  for (long long i = 0; i < program.constant_count; ++i) fixed[program.first_constant + i] = program.constants[i];
}

template <class T>
class DeviceInterpreter {
 public:
  using Job = DeviceInterpreterJob<T>;

  // Problems number `thread`, `thread` + `threads`, ...
  static PMP_INLINE void run(const Job& job, long long thread, long long threads) {
    PMP_ROLLED
    for (long long problem = thread; problem < job.job.problems; problem += threads) {
      DeviceInterpreter executor(job, problem, {job.workspace + thread, threads});
      const int steps = static_cast<int>(job.job.steps);
      sweep(executor, steps, steps, job.program.with_backward != 0);
      executor.save();
    }
  }

  // ---- the executor ------------------------------------------------------------------------------------------------

  PMP_INLINE void start() {
    set_constants(fixed_, program_);
    fixed_[program_.cost] = T(0);
    const T span = (job_.final_time ? job_.final_time[problem_] : T(1)) - t0();
    fixed_[program_.span] = span;
    fixed_[program_.h] = span * (T(1) / static_cast<T>(job_.steps));
    fixed_[program_.omega_0] = job_.objective_cotangent ? job_.objective_cotangent[problem_] : T(1);
    given(job_.parameters, program_.q, program_.theta);
    given(job_.multipliers, program_.r, program_.nu);
    given(job_.penalties, program_.r, program_.rho);
    machine_.run(program_.prologue, record(0), record(0));
    read(job_.initial_state, 0, program_.n, record(0).from(program_.x));
    if (job_.state) write(record(0).from(program_.x), job_.state, 0, program_.n);
    load_inputs(0);
  }

  PMP_INLINE void forward(int first, int end, bool) {
    PMP_ROLLED
    for (int k = first; k < end; ++k) {
      load_inputs(k + 1);
      set_time(k);
      machine_.run(program_.forward, record(k), record(k + 1));
      if (job_.state) write(record(k + 1).from(program_.x), job_.state, k + 1, program_.n);
    }
  }

  PMP_INLINE void finish() {
    const int end = static_cast<int>(job_.steps);
    machine_.run(program_.terminal, record(end), record(end));
    if (job_.objective) job_.objective[problem_] = fixed_[program_.objective];
    if (job_.lagrangian) job_.lagrangian[problem_] = fixed_[program_.lagrangian];
    if (job_.terminal) write(fixed_.from(program_.e), job_.terminal, 0, program_.r);
    if (job_.costate) write(record(end).from(program_.p), job_.costate, end, program_.n);
  }

  PMP_INLINE void resume(int) {}  // the records hold every node: there is one segment

  PMP_INLINE void backward(int first, int end) {
    T* const to = job_.control_derivative;
    PMP_ROLLED
    for (int k = end; k-- > first;) {
      set_time(k);
      machine_.run(program_.backward, record(k), record(k + 1));
      if (job_.costate) write(record(k).from(program_.p), job_.costate, k, program_.n);
      if (to && program_.linear_control) write(record(k + 1).from(program_.u_adjoint), to, k + 1, program_.m);
      if (to && (k == 0 || !program_.linear_control)) write(record(k).from(program_.u_adjoint), to, k, program_.m);
    }
  }

 private:
  PMP_INLINE DeviceInterpreter(const Job& job, long long problem, DeviceSlots<T> fixed)
      : job_(job.job),
        program_(job.program),
        records_(job.records),
        problem_(problem),
        fixed_(fixed),
        machine_(fixed) {}

  PMP_INLINE void save() const {
    if (!program_.with_backward) return;
    if (job_.initial_state_derivative) write(record(0).from(program_.p), job_.initial_state_derivative, 0, program_.n);
    if (!program_.extended) return;
    if (job_.parameter_derivative) write(fixed_.from(program_.theta_adjoint), job_.parameter_derivative, 0, program_.q);
    if (job_.final_time_derivative)
      job_.final_time_derivative[problem_] = fixed_[program_.span_adjoint] / fixed_[program_.span];
  }

  PMP_INLINE T t0() const { return static_cast<T>(job_.t0); }
  PMP_INLINE DeviceSlots<T> record(int k) const {
    const long long row = records_ == 2 ? k & 1 : k;
    return fixed_.from(program_.fixed_count + row * program_.record_count);
  }

  PMP_INLINE void set_time(int k) const {
    const T span = fixed_[program_.span];
    if (!program_.uniform) fixed_[program_.h] = span * job_.lengths[k];
    fixed_[program_.t] = native::fma(span, job_.tau[k], t0());
  }

  // All that the record of node k holds before its step but the state.
  PMP_INLINE void load_inputs(int k) const {
    const DeviceSlots<T> to = record(k);
    if (k < job_.steps + program_.linear_control)
      read(job_.control, k, program_.m, to.from(program_.u), job_.control_shared);
    if (k < job_.steps + program_.linear_data) read(job_.data, k, program_.nd, to.from(program_.d), job_.data_shared);
    if (program_.with_backward && program_.extended)
      read(job_.state_cotangent, k, program_.n, to.from(program_.x_cotangent));
  }

  // ---- rows of arrays in memory ------------------------------------------------------------------------------------

  // What does not change with time, zero where it is not given.
  PMP_INLINE void given(const T* from, long long count, long long slot) const {
    read(from, 0, count, fixed_.from(slot));
  }

  PMP_INLINE void read(const T* from, long long row, long long count, DeviceSlots<T> to, bool shared = false) const {
    const long long width = shared ? 1 : job_.problems, at = row * count * width + (shared ? 0 : problem_);
    PMP_ROLLED
    for (long long i = 0; i < count; ++i) to[i] = from ? from[at + i * width] : T(0);
  }

  PMP_INLINE void write(DeviceSlots<T> from, T* to, long long row, long long count) const {
    T* const at = to + (row * count * job_.problems + problem_);
    PMP_ROLLED
    for (long long i = 0; i < count; ++i) at[i * job_.problems] = from[i];
  }

  const DeviceJob<T>& job_;
  const DeviceProgram<T>& program_;
  const long long records_, problem_;
  const DeviceSlots<T> fixed_;
  const DeviceMachine<T> machine_;
};

// H = L + p.f and its derivatives at points number `thread`, `thread` + `threads`, ...
template <class T>
PMP_INLINE void hamiltonian_by_program(const DevicePointsJob<T>& job, long long thread, long long threads) {
  const DevicePoints<T>& points = job.points;
  const DevicePointProgram<T>& program = job.program;
  const DeviceSlots<T> fixed{job.workspace + thread, threads}, record = fixed.from(program.fixed_count);
  const DeviceMachine<T> machine(fixed);
  set_constants(fixed, program);
  PMP_ROLLED
  for (long long point = thread; point < points.count; point += threads) {
    const auto read = [&](const T* from, long long count, DeviceSlots<T> to) PMP_INLINE_LAMBDA {
      PMP_ROLLED
      for (long long i = 0; i < count; ++i) to[i] = from[i * points.count + point];
    };
    const auto write = [&](DeviceSlots<T> from, long long count, T* to) PMP_INLINE_LAMBDA {
      PMP_ROLLED
      for (long long i = 0; i < count; ++i) to[i * points.count + point] = from[i];
    };
    read(points.time, 1, record.from(program.t));
    read(points.state, program.n, record.from(program.x));
    read(points.costate, program.n, record.from(program.p));
    read(points.control, program.m, record.from(program.u));
    read(points.parameters, program.q, fixed.from(program.theta));
    read(points.data, program.nd, record.from(program.d));
    machine.run(program.code, record, record);
    write(record.from(program.h), 1, points.hamiltonian);
    write(record.from(program.h_x), program.n, points.state_derivative);
    write(record.from(program.h_u), program.m, points.control_derivative);
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
