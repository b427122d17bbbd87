// The sweep of one block of lanes. Compiled once for each instruction set, each time in a namespace of its own (PMP_ISA).
#include "cpu/kernels.hpp"

#include "pontryagin/interpreter.hpp"
#include "pontryagin/interpreter_one.hpp"
#include "pontryagin/layout.hpp"
#include "pontryagin/pack.hpp"
#include "pontryagin/sweep.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

namespace {

// Runs recorded programs over the records of a block.
template <class T, int W>
class InterpretedSweep {
 public:
  using Real = Pack<T, W>;

  InterpretedSweep(const SweepJob<T>& job, const LinkedSweep& linked, T* workspace)
      : job_(job), linked_(linked), fixed_(workspace), records_(workspace + first_record(linked)) {}

  T* fixed(int slot) { return fixed_ + static_cast<long>(slot) * W; }
  T* record(int k) { return records_ + k * record_stride(); }
  long record_stride() const { return slots_of_record(linked_.record_count) * W; }

  void start() {
    for (int i = 0; i < linked_.constant_count; ++i)
      Real(static_cast<T>(linked_.constants[i])).store(fixed(linked_.first_constant + i));
    Real(T(0)).store(fixed(linked_.cost));
    if constexpr (W == 1) {
      fixed(linked_.fixed_count)[one_lane::one] = T(1);
      fixed(linked_.fixed_count)[one_lane::minus_zero] = -T(0);
    }
    const Real span = Real::load(fixed(linked_.span));
    if (linked_.uniform) (span * Real(T(1) / static_cast<T>(job_.steps))).store(fixed(linked_.h));
    run(linked_.prologue, 0);
    if constexpr (W == 1) copy(half(0), record(0), 0, linked_.head_count);
  }
  void forward(int first, int end, bool) {
    for (int k = first; k < end; ++k) {
      set_time(k);
      if constexpr (W == 1) {
        load_inputs(k);
        if (linked_.linear_control || linked_.linear_data) load_inputs(k + 1);
      }
      run(linked_.forward[k & 1], k);
      if constexpr (W == 1) copy_all(record(k), half(k));
    }
  }
  void finish() {
    const int k = job_.steps;
    if constexpr (W == 1) load_inputs(k);
    run(linked_.terminal[k & 1], k);
    if constexpr (W == 1) copy(record(k), half(k), 0, linked_.head_count);
  }
  void resume(int) {}  // the records keep every step: there is one segment
  void backward(int first, int end) {
    for (int k = end; k-- > first;) {
      set_time(k);
      if constexpr (W == 1) copy_all(half(k), record(k));
      run(linked_.backward[k & 1], k);
      if constexpr (W == 1) copy(record(k + 1), half(k + 1), 0, linked_.head_count);
    }
    if constexpr (W == 1) copy(record(first), half(first), 0, linked_.head_count);
  }

 private:
  void set_time(int k) {
    if (linked_.uniform && !linked_.timed) return;
    const Real span = Real::load(fixed(linked_.span));
    if (!linked_.uniform) (span * Real(static_cast<T>(job_.tau[k + 1] - job_.tau[k]))).store(fixed(linked_.h));
    fma(span, Real(static_cast<T>(job_.tau[k])), Real(static_cast<T>(job_.t0))).store(fixed(linked_.t));
  }

  void run(const Linked* program, [[maybe_unused]] int k) {
    if constexpr (W > 1)
      Machine<Real>::run(program, reinterpret_cast<char*>(fixed_), reinterpret_cast<char*>(record(k)));
    else MachineOne<T>::run(program, reinterpret_cast<char*>(fixed_));
  }

  // One lane: the half of the window where the record of node k lies while its programs run. What a program hands to the
  // next node is there already: copies would lengthen the chain from step to step.
  T* half(int k) { return fixed_ + one_lane::window(linked_.fixed_count) + (k & 1) * record_stride(); }
  void load_inputs(int k) { copy(half(k), record(k), linked_.n, linked_.head_count); }  // all but the state and the cut
  void copy(T* to, const T* from, int first, int end) const {
    for (int i = first; i < end; ++i) to[i] = from[i];
  }
  void copy_all(T* to, const T* from) const {
    using Group = Pack<T, W == 1 ? one_lane::slot_group : W>;
    for (long i = 0; i < record_stride(); i += one_lane::slot_group) Group::load(from + i).store(to + i);
  }

  static long slots_of_record(int count) { return W > 1 ? count : one_lane::round_up(count); }
  static long first_record(const LinkedSweep& linked) {
    if (W > 1) return static_cast<long>(linked.fixed_count) * W;
    return one_lane::window(linked.fixed_count) + 2 * slots_of_record(linked.record_count);
  }

  const SweepJob<T>& job_;
  const LinkedSweep& linked_;
  T *fixed_, *records_;
};

template <class T, int W>
void sweep_block(const SweepJob<T>& job, const LinkedSweep& linked, long first, int count, void* workspace) {
  InterpretedSweep<T, W> executor(job, linked, static_cast<T*>(workspace));
  const int n = linked.n, m = linked.m, nodes = job.steps + 1;
  const int control_nodes = job.steps + (linked.linear_control ? 1 : 0);
  const int data_nodes = job.steps + (linked.linear_data ? 1 : 0);
  const long stride = executor.record_stride();
  T* const records = executor.record(0);

  const auto load_fixed = [&](const T* source, int components, int slot, T otherwise) {
    T* to = executor.fixed(slot);
    if (source) gather<T, W>(source + first * components, components, 1, components, count, to, 0);
    else
      for (int i = 0; i < components * W; ++i) to[i] = otherwise;
  };
  load_fixed(job.final_time, 1, linked.span, T(1));
  for (int lane = 0; lane < W; ++lane) executor.fixed(linked.span)[lane] -= static_cast<T>(job.t0);
  load_fixed(job.parameters, linked.q, linked.theta, T(0));
  load_fixed(job.multipliers, linked.r, linked.nu, T(0));
  load_fixed(job.penalties, linked.r, linked.rho, T(0));
  load_fixed(job.objective_cotangent, 1, linked.omega_0, T(1));
  gather<T, W>(job.initial_state + first * n, n, 1, n, count, records + linked.x * W, stride);
  if (m > 0)
    gather<T, W>(job.control + first * job.control_stride, job.control_stride, control_nodes, m, count,
                 records + linked.u * W, stride);
  if (linked.nd > 0)
    gather<T, W>(job.data + first * job.data_stride, job.data_stride, data_nodes, linked.nd, count,
                 records + linked.d * W, stride);
  if (linked.with_backward && linked.extended) {
    const long row = static_cast<long>(nodes) * n;
    if (job.state_cotangent)
      gather<T, W>(job.state_cotangent + first * row, row, nodes, n, count, records + linked.x_cotangent * W, stride);
    else
      for (int k = 0; k < nodes; ++k)
        for (int i = 0; i < n * W; ++i) records[k * stride + linked.x_cotangent * W + i] = T(0);
  }

  sweep(executor, job.steps, job.steps, linked.with_backward);

  const auto save_fixed = [&](int slot, int components, T* target) {
    if (target) scatter<T, W>(executor.fixed(slot), 0, 1, components, count, target + first * components, components);
  };
  save_fixed(linked.objective, 1, job.objective);
  save_fixed(linked.lagrangian, 1, job.lagrangian);
  save_fixed(linked.e, linked.r, job.terminal);
  save_fixed(linked.theta_adjoint, linked.q, job.parameter_derivative);
  save_fixed(linked.span_adjoint, 1, job.final_time_derivative);
  if (job.final_time_derivative)
    for (int lane = 0; lane < count; ++lane)
      job.final_time_derivative[first + lane] /= executor.fixed(linked.span)[lane];
  const long path = static_cast<long>(nodes) * n;
  if (job.state) scatter<T, W>(records + linked.x * W, stride, nodes, n, count, job.state + first * path, path);
  if (job.costate) scatter<T, W>(records + linked.p * W, stride, nodes, n, count, job.costate + first * path, path);
  if (job.initial_state_derivative)
    scatter<T, W>(records + linked.p * W, stride, 1, n, count, job.initial_state_derivative + first * n, n);
  if (job.control_derivative && m > 0) {
    const T* from = records + linked.u_adjoint * W;
    if (job.control_stride == 0) reduce<T, W>(from, stride, control_nodes, m, count, job.control_derivative);
    else
      scatter<T, W>(from, stride, control_nodes, m, count, job.control_derivative + first * job.control_stride,
                    job.control_stride);
  }
}

template <class T, int W>
void point_block(const PointJob<T>& job, const LinkedPoints& linked, long first, int count, void* workspace) {
  using Real = Pack<T, W>;
  T* const fixed = static_cast<T*>(workspace);
  T* const record = fixed + (W > 1 ? static_cast<long>(linked.fixed_count) * W : one_lane::window(linked.fixed_count));
  const auto load = [&](const T* source, int components, T* to) {
    if (components > 0) gather<T, W>(source + first * components, components, 1, components, count, to, 0);
  };
  const auto save = [&](int slot, int components, T* target) {
    scatter<T, W>(record + slot * W, 0, 1, components, count, target + first * components, components);
  };
  for (int i = 0; i < linked.constant_count; ++i)
    Real(static_cast<T>(linked.constants[i])).store(fixed + (linked.first_constant + i) * W);
  load(job.parameters, linked.q, fixed + linked.theta * W);
  load(job.time, 1, record + linked.t * W);
  load(job.state, linked.n, record + linked.x * W);
  load(job.costate, linked.n, record + linked.p * W);
  load(job.control, linked.m, record + linked.u * W);
  load(job.data, linked.nd, record + linked.d * W);
  if constexpr (W > 1) {
    Machine<Real>::run(linked.program, reinterpret_cast<char*>(fixed), reinterpret_cast<char*>(record));
  } else {
    fixed[linked.fixed_count + one_lane::one] = T(1);
    fixed[linked.fixed_count + one_lane::minus_zero] = -T(0);
    MachineOne<T>::run(linked.program, reinterpret_cast<char*>(fixed));
  }
  save(linked.h, 1, job.hamiltonian);
  save(linked.h_x, linked.n, job.state_gradient);
  save(linked.h_u, linked.m, job.control_gradient);
}

template <class T, int W>
LaneKernel<T> lane_kernel() {
  LaneKernel<T> kernel;
  kernel.lanes = W;
  if constexpr (W > 1) kernel.handlers = Machine<Pack<T, W>>::run(nullptr, nullptr, nullptr);
  else kernel.handlers = MachineOne<T>::run(nullptr, nullptr);
  kernel.sweep = sweep_block<T, W>;
  kernel.points = point_block<T, W>;
  if constexpr (W > 1)
    kernel.run = [](const Linked* program, void* fixed, void* record) {
      Machine<Pack<T, W>>::run(program, static_cast<char*>(fixed), static_cast<char*>(record));
    };
  return kernel;
}

// The widest pack is four vectors of the instruction set (two of 64 bytes on the baseline would spill).
#if defined(__AVX512F__)
constexpr int widest = 32;
#elif defined(__AVX2__)
constexpr int widest = 16;
#else
constexpr int widest = 8;
#endif

}  // namespace

#define PMP_PASTE_(a, b) a##b
#define PMP_PASTE(a, b) PMP_PASTE_(a, b)

KernelSet make_kernel_set(const char* name) {
  KernelSet set;
  set.name = name;
  set.f64[0] = lane_kernel<double, 1>();
  set.f64[1] = lane_kernel<double, 8>();
  set.f64[2] = lane_kernel<double, widest>();
  set.f32[0] = lane_kernel<float, 1>();
  set.f32[1] = lane_kernel<float, 16>();
  set.f32[2] = lane_kernel<float, 2 * widest>();
  return set;
}

}  // namespace PMP_ISA

KernelSet PMP_PASTE(kernel_set_, PMP_ISA)() { return PMP_ISA::make_kernel_set(PMP_ISA_NAME); }

}  // namespace pontryagin
