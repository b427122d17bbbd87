// Sweeps of one compiled Model on a GPU: one problem a thread. All that a thread knows is its problem's number; on the
// host, a loop over problems calls the same function.
//
// Request concept, known when the kernel is compiled: Scalar, tableau (with count()), linear_control, linear_data,
// uniform (equal steps), backward, extended (derivatives in theta and t1, and cotangents).
//
// The way back needs the cut of every step. Memory is slow beside arithmetic, so only the state at each node is kept (at
// the start of each segment where the horizon is long), and a step back makes its stages again, in registers. Where the
// path of the state is an output, that path is the tape.
#pragma once

#include "device_job.hpp"
#include "each.hpp"
#include "macros.hpp"
#include "pack.hpp"
#include "step.hpp"
#include "sweep.hpp"
#include "terminal.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// A Model over single numbers whose cut lies in registers.
template <template <class> class ModelOf, class T>
struct ThreadModel : ModelOf<Pack<T, 1>> {
  using Real = Pack<T, 1>;
  struct Cut {
    mutable Array<Real, ModelOf<Real>::cut_size> values;
    PMP_INLINE void keep(int i, Real value) const { values[i] = value; }
    PMP_INLINE Real kept(int i) const { return values[i]; }
  };
};

template <template <class> class ModelOf, class Request>
class DeviceSweep {
 public:
  using T = typename Request::Scalar;
  using Model = ThreadModel<ModelOf, T>;
  using Real = typename Model::Real;
  using State = typename Model::State;
  using Control = typename Model::Control;
  using Parameters = typename Model::Parameters;
  using Constraints = typename Model::Constraints;

  // Problem number `problem` of the job, from its arguments to its results.
  static PMP_INLINE void run(const DeviceJob<T>& job, long long problem) {
    if (problem >= job.problems) return;  // the rest of the last block
    DeviceSweep thread(job, problem);
    pontryagin::sweep(thread, static_cast<int>(job.steps), static_cast<int>(job.segment), Request::backward);
    thread.save();
  }

  // ---- the executor ------------------------------------------------------------------------------------------------

  PMP_INLINE void start() {
    const Model model{};
    cost_ = Real(0);
    span_ = given(job_.final_time, T(1)) - t0();
    h_ = span_ * Real(T(1) / static_cast<T>(job_.steps));
    omega_0_ = Real(1);
    if constexpr (Request::extended) omega_0_ = given(job_.objective_cotangent, T(1));
    given(job_.initial_state, model.n(), x_, T(0));
    given(job_.parameters, model.q(), theta_, T(0));
  }

  PMP_INLINE void forward(int first, int end, bool keep) {
    const Model model{};
    constexpr auto tableau = Request::tableau;
    T* const path = job_.state ? job_.state : keep ? job_.tape : nullptr;
    const int origin = job_.state ? 0 : first;
    PMP_ROLLED
    for (int k = first; k < end; ++k) {
      if (path) write(x_, path, k - origin, model.n());
      Stage<Model> stages[max_stages];
      StepInput<Model> in = input(k);
      in.x = x_;
      step_forward(model, tableau, in, stages, x_, cost_, [](auto) PMP_INLINE_LAMBDA {});
    }
    if (job_.state) write(x_, job_.state, end, model.n());
    if (!keep && job_.starts) write(x_, job_.starts, end / static_cast<int>(job_.segment), model.n());
  }

  PMP_INLINE void finish() {
    const Model model{};
    TerminalValue<Model> value;
    Constraints nu, rho;
    given(job_.multipliers, model.r(), nu, T(0));
    given(job_.penalties, model.r(), rho, T(0));
    const Real t1 = span_ + t0();
    terminal_forward(model, t1, x_, theta_, cost_, omega_0_, nu, rho, value);
    write(value.objective, job_.objective);
    write(value.lagrangian, job_.lagrangian);
    if (job_.terminal) write(value.e, job_.terminal, 0, model.r());
    if constexpr (Request::backward) {
      Gradient<Model> g;
      model.terminal_pullback(t1, x_, theta_, omega_0_, value.omega, g);
      adjoint_.p = g.x;
      if constexpr (Request::extended) {
        adjoint_.theta = g.theta;
        adjoint_.span = span_ * g.t;
        add_cotangent(static_cast<int>(job_.steps));
      }
      each(model.m(), [&](auto j) PMP_INLINE_LAMBDA { adjoint_.u_next[j] = Real(0); });
      if (job_.costate) write(adjoint_.p, job_.costate, static_cast<int>(job_.steps), model.n());
    }
  }

  PMP_INLINE void resume(int first) {
    const Model model{};
    if (first == 0) given(job_.initial_state, model.n(), x_, T(0));
    else read(job_.starts, first / static_cast<int>(job_.segment), model.n(), x_);
  }

  PMP_INLINE void backward([[maybe_unused]] int first, [[maybe_unused]] int end) {
    if constexpr (Request::backward) {
      PMP_ROLLED
      for (int k = end; k-- > first;) retreat(k, job_.state ? k : k - first);
    }
  }

 private:
  // p_{k+1} to p_k, from the state at row `row` of the tape.
  PMP_INLINE void retreat(int k, int row) {
    const Model model{};
    constexpr auto tableau = Request::tableau;
    StepInput<Model> in = input(k);
    read(job_.state ? job_.state : job_.tape, row, model.n(), in.x);
    Stage<Model> stages[max_stages];
    State next;
    Real cost(0);
    step_forward(model, tableau, in, stages, next, cost, [](auto) PMP_INLINE_LAMBDA {});
    each(model.m(), [&](auto j) PMP_INLINE_LAMBDA { adjoint_.u[j] = Real(0); });
    adjoint_.with_parameters = adjoint_.with_span = Request::extended;
    step_backward(model, tableau, in, stages, omega_0_, adjoint_, [](auto) PMP_INLINE_LAMBDA {});
    if constexpr (Request::extended) add_cotangent(k);
    if (job_.costate) write(adjoint_.p, job_.costate, k, model.n());
    T* const to = job_.control_derivative;
    if constexpr (Request::linear_control) {
      if (to) write(adjoint_.u_next, to, k + 1, model.m());
      if (to && k == 0) write(adjoint_.u, to, 0, model.m());
      adjoint_.u_next = adjoint_.u;
    } else {
      if (to) write(adjoint_.u, to, k, model.m());
    }
  }

  PMP_INLINE void save() const {
    if constexpr (Request::backward) {
      const Model model{};
      if (job_.initial_state_derivative) write(adjoint_.p, job_.initial_state_derivative, 0, model.n());
      if constexpr (Request::extended) {
        if (job_.parameter_derivative) write(adjoint_.theta, job_.parameter_derivative, 0, model.q());
        write(adjoint_.span / span_, job_.final_time_derivative);
      }
    }
  }

  PMP_INLINE DeviceSweep(const DeviceJob<T>& job, long long problem) : job_(job), problem_(problem) {}

  PMP_INLINE Real t0() const { return Real(static_cast<T>(job_.t0)); }

  PMP_INLINE void add_cotangent(int k) {
    const Model model{};
    State cotangent;
    if (!job_.state_cotangent) return;
    read(job_.state_cotangent, k, model.n(), cotangent);
    each(model.n(), [&](auto i) PMP_INLINE_LAMBDA { adjoint_.p[i] = adjoint_.p[i] + cotangent[i]; });
  }

  // Everything that step k knows but the state.
  PMP_INLINE StepInput<Model> input(int k) const {
    const Model model{};
    StepInput<Model> in;
    in.t0 = t0();
    in.t = fma(span_, Real(job_.tau[k]), in.t0);
    in.h = Request::uniform ? h_ : span_ * Real(job_.lengths[k]);
    in.theta = &theta_;
    in.linear_control = Request::linear_control;
    in.linear_data = Request::linear_data;
    read(job_.control, k, model.m(), in.u, job_.control_shared);
    read(job_.data, k, model.nd(), in.d, job_.data_shared);
    if constexpr (Request::linear_control) read(job_.control, k + 1, model.m(), in.u_next, job_.control_shared);
    else in.u_next = in.u;
    if constexpr (Request::linear_data) read(job_.data, k + 1, model.nd(), in.d_next, job_.data_shared);
    else in.d_next = in.d;
    return in;
  }

  // ---- rows of arrays in memory --------------------------------------------------------------------------------------

  PMP_INLINE Real given(const T* from, T otherwise) const { return Real(from ? from[problem_] : otherwise); }

  // What does not change with time, `otherwise` where it is not given.
  template <class Count, class Values>
  PMP_INLINE void given(const T* from, Count count, Values& values, T otherwise) const {
    each(count,
         [&](auto i) PMP_INLINE_LAMBDA { values[i] = Real(from ? from[i * job_.problems + problem_] : otherwise); });
  }

  template <class Count, class Values>
  PMP_INLINE void read(const T* from, int row, Count count, Values& values, bool shared = false) const {
    if (count == 0) return;
    const long long width = shared ? 1 : job_.problems;
    const T* const at = from + (static_cast<long long>(row) * count * width + (shared ? 0 : problem_));
    each(count, [&](auto i) PMP_INLINE_LAMBDA { values[i] = Real(at[i * width]); });
  }

  PMP_INLINE void write(Real value, T* to) const {
    if (to) to[problem_] = value.v[0];
  }

  template <class Count, class Values>
  PMP_INLINE void write(const Values& values, T* to, int row, Count count) const {
    if (count == 0) return;
    T* const at = to + (static_cast<long long>(row) * count * job_.problems + problem_);
    each(count, [&](auto i) PMP_INLINE_LAMBDA { at[i * job_.problems] = values[i].v[0]; });
  }

  const DeviceJob<T>& job_;
  const long long problem_;
  Real span_, h_, omega_0_, cost_;
  State x_;
  Parameters theta_;
  StepAdjoint<Model> adjoint_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
