// Sweeps of one compiled Model over a block of W problems, in lock step, one to a lane.
//
// Request concept, known when the library is compiled: Scalar, tableau (with count()), linear_control, linear_data,
// uniform (equal steps), backward, extended (derivatives in theta and t1, and cotangents), registers (of a pack).
//
// The workspace of a block, in numbers of its scalar type, each row W lanes wide:
//
//     u, later dJ/du [K][m]    data [K_d][nd]    tape [segment][stage][cut]    state at the start of segments [.][n]
//     state, costate, state cotangent [N+1][n] each, where asked for or given
//
// so that a block needs, in numbers, W times
//
//     K m + K_d nd + S s c + ceil(N/S) n + (N+1) n (paths asked for),    S = segment_of(N) steps of s stages
//
// where c numbers are kept a stage: the cut, and f and L where derivatives are extended.//
// Nothing is allocated and nothing is locked here.
#pragma once

#include "by_register.hpp"
#include "each.hpp"
#include "job.hpp"
#include "layout.hpp"
#include "macros.hpp"
#include "native_table.hpp"
#include "pack.hpp"
#include "step.hpp"
#include "sweep.hpp"
#include "terminal.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// A tape of this many bytes stays in the second-level cache, where storing cuts beats making them again.
constexpr long tape_bytes = 640 * 1024;

template <template <class> class ModelOf, class Request, int W>
class ModelSweep {
 public:
  using T = typename Request::Scalar;
  using Real = Pack<T, W>;
  using Model = ByRegister<ModelOf, T, W>;
  using State = typename Model::State;
  using Control = typename Model::Control;
  using Parameters = typename Model::Parameters;
  using Data = typename Model::Data;
  using Constraints = typename Model::Constraints;
  static constexpr Model model{};
  static constexpr auto tableau = Request::tableau;

  // Numbers of a stage on the tape.
  static constexpr int cut_size = Model::cut_size + (Request::backward && Request::extended ? Model::n() + 1 : 0);
  static constexpr long step_size = static_cast<long>(Request::tableau.stages) * cut_size * W;

  static int segment_of(int steps) {
    const long fit = tape_bytes / (static_cast<long>(sizeof(T)) * (step_size > 0 ? step_size : 1));
    if (!Request::backward || fit >= steps) return steps;
    const long segments = (steps + fit - 1) / (fit > 0 ? fit : 1);
    return fit > 0 ? static_cast<int>((steps + segments - 1) / segments) : 1;
  }

  static long workspace_slots(const SweepJob<T>& job) { return Places(job).count; }

  static void run(const SweepJob<T>& job, long first, int count, void* workspace) {
    ModelSweep block(job, first, count, static_cast<T*>(workspace));
    block.load();
    pontryagin::sweep(block, job.steps, block.segment_, Request::backward);
    block.save();
  }

  // ---- the executor ------------------------------------------------------------------------------------------------

  void start() {
    cost_ = Real(0);
    if constexpr (Request::uniform) h_ = span_ * Real(T(1) / static_cast<T>(job_.steps));
    if (job_.state) put(x_, state_);
    if (Request::backward && starts_) put(x_, starts_);
  }

  // One function whether cuts are kept or not: where not, each step overwrites the cuts of the last.
  PMP_NOINLINE void forward(int first, int end, bool keep) {
    State x = x_;
    Real cost = cost_;
    T* tape = tape_;
    for (int k = first; k < end; ++k) {
      StepInput<Model> in = input(k);
      in.x = x;
      Stage<Model> stages[max_stages];
      set_rows(stages, tape);
      step_forward(model, tableau, in, stages, x, cost, [&](auto i) PMP_INLINE_LAMBDA {
        if constexpr (Request::backward && Request::extended) {
          T* at = stages[i].cut.at + Model::cut_size * W;
          put(stages[i].f, at, model.n());
          stages[i].L.store(at + n * W);
        }
      });
      if (keep) tape += step_size;
      if (job_.state) put(x, state_ + row(k + 1, n));
    }
    x_ = x, cost_ = cost;
    if (!keep && starts_) put(x, starts_ + row(end / segment_, n));
  }

  void finish() {
    TerminalValue<Model> value;
    const Real t1 = span_ + Real(static_cast<T>(job_.t0));
    terminal_forward(model, t1, x_, theta_, cost_, omega_0(), nu_, rho_, value);
    objective_ = value.objective, lagrangian_ = value.lagrangian;
    each(model.r(), [&](auto j) PMP_INLINE_LAMBDA { e_[j] = value.e[j]; });
    if constexpr (Request::backward) {
      Gradient<Model> g;
      model.terminal_pullback(t1, x_, theta_, omega_0(), value.omega, g);
      adjoint_.p = g.x;
      if constexpr (Request::extended) {
        adjoint_.theta = g.theta;
        adjoint_.span = span_ * g.t;
        if (cotangent_) add_cotangent(job_.steps);
      }
      if constexpr (Request::linear_control)
        each(model.m(), [&](auto j) PMP_INLINE_LAMBDA { adjoint_.u_next[j] = Real(0); });
      if (job_.costate) put(adjoint_.p, costate_ + row(job_.steps, model.n()));
    }
  }

  void resume(int first) { get(starts_ + row(first / segment_, model.n()), x_); }

  void backward([[maybe_unused]] int first, [[maybe_unused]] int end) {
    if constexpr (Request::backward) retreat(first, end);
  }

 private:
  void retreat(int first, int end) {
    StepAdjoint<Model> adjoint = adjoint_;
    for (int k = end; k-- > first;) {
      const StepInput<Model> in = input(k);
      Stage<Model> stages[max_stages];
      set_rows(stages, tape_ + (k - first) * step_size);
      const auto recall = [&](auto i) PMP_INLINE_LAMBDA {
        stage_inputs(model, tableau.c[i], in, stages[i]);
        if constexpr (Request::extended) {
          const T* at = stages[i].cut.at + Model::cut_size * W;
          get(at, stages[i].f, model.n());
          stages[i].L = Real::load(at + n * W);
        }
      };
      each(model.m(), [&](auto j) PMP_INLINE_LAMBDA { adjoint.u[j] = Real(0); });
      adjoint.with_parameters = adjoint.with_span = Request::extended;  // here, where the compiler sees it
      step_backward(model, tableau, in, stages, omega_0(), adjoint, recall);
      if constexpr (Request::extended)
        if (cotangent_) add_cotangent(k, adjoint);
      if (job_.costate) put(adjoint.p, costate_ + row(k, model.n()));
      if constexpr (Request::linear_control) {
        put(adjoint.u_next, control_ + row(k + 1, model.m()), model.m());
        adjoint.u_next = adjoint.u;
        if (k == 0) put(adjoint.u, control_, model.m());
      } else {
        put(adjoint.u, control_ + row(k, model.m()), model.m());
      }
    }
    adjoint_ = adjoint;
  }

  static constexpr int n = Model::n(), m = Model::m(), q = Model::q(), nd = Model::nd(), r = Model::r();

  // Where in the workspace everything lies; -1 for what this job has no use for.
  struct Places {
    long control, data, tape, starts, state, costate, cotangent, count = 0;
    int segment;
    explicit Places(const SweepJob<T>& job) : segment(segment_of(job.steps)) {
      const long nodes = job.steps + 1L, segments = (job.steps + segment - 1L) / segment;
      control = take((job.steps + (Request::linear_control ? 1L : 0L)) * m);
      data = take((job.steps + (Request::linear_data ? 1L : 0L)) * nd);
      tape = Request::backward ? take(segment * (step_size / W)) : -1;
      starts = Request::backward && segments > 1 ? take(segments * n) : -1;
      state = job.state ? take(nodes * n) : -1;
      costate = job.costate ? take(nodes * n) : -1;
      cotangent = Request::extended && job.state_cotangent ? take(nodes * n) : -1;
    }
    long take(long rows) {
      const long at = count;
      const long line = 64 / static_cast<long>(sizeof(T));
      count += (rows * W + line - 1) / line * line;
      return at;
    }
  };

  ModelSweep(const SweepJob<T>& job, long first, int count, T* workspace) : job_(job), first_(first), lanes_(count) {
    const Places places(job);
    const auto at = [workspace](long place) { return place < 0 ? nullptr : workspace + place; };
    segment_ = places.segment;
    control_ = at(places.control), data_ = at(places.data), tape_ = at(places.tape), starts_ = at(places.starts);
    state_ = at(places.state), costate_ = at(places.costate), cotangent_ = at(places.cotangent);
  }

  static constexpr long row(long k, int components) { return k * components * W; }

  static PMP_INLINE void set_rows(Stage<Model>* stages, T* step) {
    each(tableau.count(), [&](auto i) PMP_INLINE_LAMBDA { stages[i].cut.at = step + i * (cut_size * W); });
  }

  template <class Values, class Count = decltype(Model::n())>
  static PMP_INLINE void put(const Values& values, T* to, Count count = Model::n()) {
    each(count, [&](auto i) PMP_INLINE_LAMBDA { values[i].store(to + i * W); });
  }
  template <class Values, class Count = decltype(Model::n())>
  static PMP_INLINE void get(const T* from, Values& values, Count count = Model::n()) {
    each(count, [&](auto i) PMP_INLINE_LAMBDA { values[i] = Real::load(from + i * W); });
  }

  Real omega_0() const {
    if constexpr (Request::extended) return omega_0_;
    else return Real(1);
  }

  void add_cotangent(int k) { add_cotangent(k, adjoint_); }
  PMP_INLINE void add_cotangent(int k, StepAdjoint<Model>& adjoint) const {
    const T* from = cotangent_ + row(k, n);
    each(model.n(), [&](auto i) PMP_INLINE_LAMBDA { adjoint.p[i] = adjoint.p[i] + Real::load(from + i * W); });
  }

  // Everything that step k knows but the state.
  PMP_INLINE StepInput<Model> input(int k) const {
    StepInput<Model> in;
    in.t0 = Real(static_cast<T>(job_.t0));
    in.t = fma(span_, Real(static_cast<T>(job_.tau[k])), in.t0);
    if constexpr (Request::uniform) in.h = h_;
    else in.h = span_ * Real(static_cast<T>(job_.tau[k + 1] - job_.tau[k]));
    in.theta = &theta_;
    in.linear_control = Request::linear_control;
    in.linear_data = Request::linear_data;
    get(control_ + row(k, m), in.u, model.m());
    get(data_ + row(k, nd), in.d, model.nd());
    if constexpr (Request::linear_control) get(control_ + row(k + 1, m), in.u_next, model.m());
    else in.u_next = in.u;
    if constexpr (Request::linear_data) get(data_ + row(k + 1, nd), in.d_next, model.nd());
    else in.d_next = in.d;
    return in;
  }

  // ---- between the caller's layout and the block's -----------------------------------------------------------------

  PMP_NOINLINE void load() {
    alignas(64) T buffer[W * (1 + (n > r ? (n > q ? n : q) : (r > q ? r : q)))];
    const auto load = [&](const T* source, auto count, auto& values, T otherwise) {
      if (source && count > 0) {
        gather<T, W>(source + first_ * count, count, 1, count, lanes_, buffer, 0);
        get(buffer, values, count);
      } else {
        each(count, [&](auto i) { values[i] = Real(otherwise); });
      }
    };
    Array<Real, 1> one;
    load(job_.final_time, Size<1>(), one, T(1));
    span_ = one[0] - Real(static_cast<T>(job_.t0));
    load(job_.objective_cotangent, Size<1>(), one, T(1));
    omega_0_ = one[0];
    load(job_.initial_state, Model::n(), x_, T(0));
    load(job_.parameters, Model::q(), theta_, T(0));
    load(job_.multipliers, Model::r(), nu_, T(0));
    load(job_.penalties, Model::r(), rho_, T(0));
    const int control_nodes = job_.steps + Request::linear_control, data_nodes = job_.steps + Request::linear_data;
    if (m > 0)
      gather<T, W>(job_.control + first_ * job_.control_stride, job_.control_stride, control_nodes, m, lanes_, control_,
                   m * W);
    if (nd > 0)
      gather<T, W>(job_.data + first_ * job_.data_stride, job_.data_stride, data_nodes, nd, lanes_, data_, nd * W);
    if (cotangent_) {
      const long path = (job_.steps + 1L) * n;
      gather<T, W>(job_.state_cotangent + first_ * path, path, job_.steps + 1, n, lanes_, cotangent_, n * W);
    }
  }

  PMP_NOINLINE void save() {
    alignas(64) T buffer[W * (1 + (n > r ? (n > q ? n : q) : (r > q ? r : q)))];
    const auto save = [&](const auto& values, auto count, T* target) {
      if (!target || count == 0) return;
      put(values, buffer, count);
      scatter<T, W>(buffer, 0, 1, count, lanes_, target + first_ * count, count);
    };
    const auto save_one = [&](Real value, T* target) {
      if (!target) return;
      value.store(buffer);
      scatter<T, W>(buffer, 0, 1, 1, lanes_, target + first_, 1);
    };
    save_one(objective_, job_.objective);
    save_one(lagrangian_, job_.lagrangian);
    save(e_, Model::r(), job_.terminal);
    const long path = (job_.steps + 1L) * n;
    if (job_.state) scatter<T, W>(state_, n * W, job_.steps + 1, n, lanes_, job_.state + first_ * path, path);
    if constexpr (Request::backward) {
      if (job_.costate) scatter<T, W>(costate_, n * W, job_.steps + 1, n, lanes_, job_.costate + first_ * path, path);
      save(adjoint_.p, Model::n(), job_.initial_state_derivative);
      if constexpr (Request::extended) {
        save(adjoint_.theta, Model::q(), job_.parameter_derivative);
        save_one(adjoint_.span / span_, job_.final_time_derivative);
      }
      if (job_.control_derivative && m > 0) {
        const int nodes = job_.steps + Request::linear_control;
        if (job_.control_stride == 0) reduce<T, W>(control_, m * W, nodes, m, lanes_, job_.control_derivative);
        else
          scatter<T, W>(control_, m * W, nodes, m, lanes_, job_.control_derivative + first_ * job_.control_stride,
                        job_.control_stride);
      }
    }
  }

  const SweepJob<T>& job_;
  long first_;
  int lanes_, segment_;
  T *control_, *data_, *tape_, *starts_, *state_, *costate_, *cotangent_;
  Real span_, h_, omega_0_, cost_, objective_, lagrangian_;
  State x_;
  Parameters theta_;
  Constraints nu_, rho_, e_;
  StepAdjoint<Model> adjoint_;
};

// The table of a library: one problem alone, and the lanes of one or two registers side by side, so that the latency of
// one hides behind the work of the other.
template <template <class> class ModelOf, class Request>
const NativeTable* native_table() {
  using T = typename Request::Scalar;
  constexpr int wide = Request::registers * native_bytes / static_cast<int>(sizeof(T));
  using One = ModelSweep<ModelOf, Request, 1>;
  using Wide = ModelSweep<ModelOf, Request, wide>;
  using Model = typename One::Model;
  static const NativeKernel<T> kernels[2] = {{1, One::workspace_slots, One::run},
                                             {wide, Wide::workspace_slots, Wide::run}};
  static const NativeTable table{
      native_border, 8 * static_cast<int>(sizeof(T)), Model::n(), Model::m(), Model::q(), Model::nd(),
      Model::r(),    Request::linear_control,         kernels};
  return &table;
}

}  // namespace PMP_ISA
}  // namespace pontryagin
