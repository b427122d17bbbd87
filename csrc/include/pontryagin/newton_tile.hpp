// Newton's method for W problems side by side: the loop of pontryagin/optim/newton/newton.py, which explains every phase.
//
// What is arithmetic runs on packs of lanes, what is a decision runs lane by lane. A lane holds one problem with its own
// barrier, regularisation, filter, step and status; what the others do never enters its numbers. All lanes make the
// passes of an iteration together: one that needs no second trial, or is done, looks on.
//
// A problem begins with an iteration that finds its scales and estimates its multipliers; so does one whose restoration
// has ended.
#pragma once

#include "newton_search.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
class NewtonTile {
 public:
  using Real = TileReal<W>;
  using Lay = RowsOf<W>;
  using State = NewtonState<W>;
  using Lane = NewtonLane;
  using Phase = NewtonPhase;
  using Status = NewtonStatus;

  NewtonTile(const NewtonProblem& problem, const PointFunctions& functions, const NewtonSettings& settings,
             const NewtonBatch& batch, NewtonRow* history, Arena& arena)
      : x_(problem, functions, settings, batch, arena),
        direction_(x_, arena),
        search_(x_, direction_),
        history_(history) {
    gradient_ = arena.take<Real>((problem.steps + 1L) * x_.row());
  }

  void prepare() { x_.prepare(); }

  // -- problems come and go ------------------------------------------------------------------------------------------

  int active() const {
    int count = 0;
    for (int l = 0; l < W; ++l) count += x_.lane[l].phase != Phase::idle ? 1 : 0;
    return count;
  }
  void clear() {
    for (int l = 0; l < W; ++l) x_.lane[l].phase = Phase::idle;
  }

  // Takes a problem of the batch into a lane that is free.
  void add(long problem) {
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase == Phase::idle) {
        x_.load(l, problem);
        return;
      }
  }

  // One iteration of every lane. A problem that ends is written to the batch, and its lane is free.
  void iterate() {
    linearise();
    begin();
    measure();
    const bool condensed = leave_saddles();
    retire();
    if (!x_.anyone(Phase::running) && !x_.anyone(Phase::estimating)) {
      release();
      return;
    }
    lower_barrier();
    if (!condensed) direction_.condense();
    direction_.factorise();
    direction_.find();
    estimate();
    search_.run();
    release();
  }

  // Writes everything that still runs to the batch as it stands.
  void give_up() {
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase != Phase::idle) {
        x_.store(l, Status::running);
        x_.lane[l].phase = Phase::idle;
      }
  }

  // -- other questions -----------------------------------------------------------------------------------------------

  // Replaces the guess by the path that its controls lead to, where that violates less than `favour` times as much.
  void choose_start(double favour) {
    fill(x_.costate, Real(0), (x_.p.steps + 1L) * x_.ns), fill(x_.nu, Real(0), x_.r);
    fill(x_.lambda, Real(0), x_.count);
    linearise();
    for (int l = 0; l < W; ++l) x_.measure_scales(l);
    double guess[W], rolled[W];
    x_.start_violation(x_.z, x_.values, guess);
    copy(x_.z.s, x_.trial.s, (x_.p.steps + 1L) * x_.ns);
    copy(x_.z.v, x_.trial.v, static_cast<long>(x_.p.steps) * x_.nv);
    x_.steps.roll_out(x_.trial);
    x_.steps.values(x_.trial, x_.trial_values);
    x_.start_violation(x_.trial, x_.trial_values, rolled);
    Real better(0);
    for (int l = 0; l < W; ++l) x_.at(better, l) = rolled[l] < favour * guess[l] ? 1 : 0;
    x_.take_states(better > Real(0));
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase != Phase::idle) x_.store_point(l);
  }

  // Rows of the history to which all problems here have contributed.
  int told() const {
    int rows = 1 << 30;
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase != Phase::idle) {
        const int own = x_.lane[l].iteration - 1;  // it tells of an iteration when the next one begins
        rows = own < rows ? own : rows;
      }
    return rows;
  }

  void find_values() { x_.steps.values(x_.z, x_.values); }
  void find_slopes() { linearise(); }

  const NewtonProblem& problem() const { return x_.p; }
  const PointValues<Real>& values() const { return x_.values; }
  const PointSlopes<Real>& slopes() const { return x_.slopes; }
  const Real* costate() const { return x_.costate; }
  // Component a of F_k.
  Real following(int k, int a) const {
    return a < x_.p.n ? x_.values.next[static_cast<long>(k) * x_.p.n + a] : x_.steps.carried(x_.z, k, a);
  }
  // The multipliers that a Hessian is asked for with: costates [N+1][ns], nu [r], mu [N+1][rows] and the weight of J.
  void set_multipliers(int l, const double* costate, const double* nu, const double* mu, double weight) {
    for (long i = 0; i < (x_.p.steps + 1L) * x_.ns; ++i) x_.at(x_.costate[i], l) = costate[i];
    for (int i = 0; i < x_.r; ++i) x_.at(x_.nu[i], l) = nu[i];
    for (long i = 0; i < (x_.p.steps + 1L) * x_.p.rows; ++i)
      if (x_.row_of[i] >= 0) x_.at(x_.lambda[x_.row_of[i]], l) = mu[i];
    x_.lane[l].weight = weight;
  }

 private:
  // -- the phases of an iteration ------------------------------------------------------------------------------------

  PMP_DEVICE_CALL void linearise() {
    const auto multiplier = [&](int k, int i) {
      const int row = x_.row_of[k * x_.p.rows + i];
      return row < 0 ? Real(0) : x_.lambda[row];
    };
    x_.steps.linearise(x_.z, x_.costate, x_.nu, multiplier, x_.weight(), x_.set.exact, x_.values, x_.slopes);
    x_.find_residuals(x_.z, x_.values, x_.sigma, x_.wrong);
  }

  // Problems whose derivatives with weight one and without multipliers are there now: scales, slacks and the filter.
  void begin() {
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase == Phase::beginning) begin_lane(l);
  }

  void begin_lane(int l) {
    Lane& one = x_.lane[l];
    x_.measure_scales(l);
    const double weight = one.weight;
    for (long i = 0; i < (x_.p.steps + 1L) * x_.row(); ++i) x_.at(x_.slopes.gradient[i], l) *= weight;
    one.mu = x_.set.warm && one.known ? x_.set.warm_barrier : x_.set.barrier;
    if (one.mu < x_.set.smallest_barrier()) one.mu = x_.set.smallest_barrier();
    const double* sigma = x_.batch.sigma + one.problem * (x_.p.steps + 1L) * (2L * x_.nz + x_.p.rows);
    const double* lambda = x_.batch.multiplier + one.problem * (x_.p.steps + 1L) * (2L * x_.nz + x_.p.rows);
    x_.barrier.each([&](int row, int k, const Inequality& inequality) {
      const bool bound = x_.barrier.is_bound(inequality);
      double slack;
      if (bound) {
        slack = x_.at(x_.barrier.gap(x_.z, k, inequality), l);
      } else {
        const double c = x_.at(x_.values.path[x_.barrier.path_row(k, inequality)], l);
        const double least = 1e-2 * x_.at(x_.unit_path[inequality.index - 2 * x_.nz], l);
        slack = -c > least ? -c : least;
      }
      double multiplier = one.mu / slack;
      if (x_.set.warm && one.known) {
        const long place = k * (2L * x_.nz + x_.p.rows) + inequality.index;
        if (!bound) slack = sigma[place];
        multiplier = x_.clipped(weight * lambda[place], one.mu / slack, State::central);
      }
      x_.at(x_.sigma[row], l) = slack, x_.at(x_.lambda[row], l) = multiplier;
    });
    if (x_.set.warm && one.known) {
      const double* p = x_.batch.costate + one.problem * (x_.p.steps + 1L) * x_.ns;
      for (long i = 0; i < (x_.p.steps + 1L) * x_.ns; ++i) x_.at(x_.costate[i], l) = weight * p[i];
      for (int i = 0; i < x_.r; ++i) x_.at(x_.nu[i], l) = weight * x_.batch.end[one.problem * x_.r + i];
    }
    x_.find_residuals(x_.z, x_.values, x_.sigma, x_.wrong);
    double theta[W];
    x_.total_violation(x_.wrong, theta);
    one.filter.begin(theta[l]);
    one.phase = x_.set.warm && one.known ? Phase::waiting : Phase::estimating;
  }

  void measure() {
    const int last = x_.p.steps;
    // derivative of the Lagrangian, in gradient_
    copy(x_.slopes.gradient, gradient_, (last + 1L) * x_.row());
    x_.barrier.each([&](int row, int k, const Inequality& one) {
      x_.barrier.pull(x_.slopes, one, k, Real(one.weight) * x_.lambda[row], gradient_);
    });
    Real dual(0), mean(0);
    for (int k = 0; k <= last; ++k) {
      Real* slope = gradient_ + static_cast<long>(k) * x_.row();
      Real* p = x_.costate + static_cast<long>(k) * x_.ns;
      if (k < last) {
        const Real *J = x_.slopes.jacobian + static_cast<long>(k) * x_.p.n * x_.row(), *next = p + x_.ns;
        add_products(
            x_.p.n, [&](int j) { return next[j]; }, [&](int j) { return J + static_cast<long>(j) * x_.row(); }, slope,
            slope, x_.row());
        for (int a = x_.p.n; a < x_.ns; ++a) {
          Real& place = slope[x_.p.linear_control && a < x_.p.n + x_.p.m ? x_.ns + a - x_.p.n : a];
          place = place + next[a];
        }
      } else {
        for (int i = 0; i < x_.r; ++i)
          add_multiple(x_.nu[i], x_.slopes.end + static_cast<long>(i) * Lay::padded(x_.ns), slope, Lay::padded(x_.ns));
      }
      for (int a = 0; a < x_.ns; ++a) {
        if (k > 0) {
          slope[a] = slope[a] - p[a];
        } else {  // of the initial state: nothing else
          p[a] = x_.p.free[a] ? Real(0) : slope[a];
          if (!x_.p.free[a]) slope[a] = Real(0);
        }
        mean = mean + abs(p[a] * x_.scale[a]);
      }
      for (int a = 0; a < (k < last ? x_.nz : x_.ns); ++a)
        dual = x_.worse(dual, abs(slope[a] * x_.scale[a]) * Real(1 / x_.p.bound_weights[k * x_.nz + a]));
    }
    const Real unit = mean * Real(1 / (100.0 * (last + 1.0) * x_.ns));
    dual = dual / select(unit > Real(1), unit, Real(1));
    const Real primal = x_.violation(x_.wrong), product = x_.barrier.complementarity(x_.sigma, x_.lambda, Real(0));
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase == Phase::running) {
        Lane& one = x_.lane[l];
        one.dual = x_.at(dual, l), one.primal = x_.at(primal, l), one.complementarity = x_.at(product, l);
        if (one.iteration > 0) tell(l);
      }
  }

  void tell(int l) {
    if (history_ == nullptr) return;
    const Lane& one = x_.lane[l];
    NewtonRow& row = history_[one.iteration - 1];
    const auto most = [](double& so_far, double value) {
      if (!(value <= so_far)) so_far = value;
    };
    row.running += 1, row.objective += x_.at(x_.values.cost, l);
    most(row.dual, one.dual), most(row.primal, one.primal), most(row.complementarity, one.complementarity);
    most(row.barrier, one.mu), most(row.regularisation, one.delta);
    if (one.alpha < row.step) row.step = one.alpha;
  }

  // Where all conditions of first order hold but the curvature is negative somewhere, the point moves along it, in a
  // direction that keeps the linearised constraints. Returns whether the inequalities are in the matrices now.
  bool leave_saddles() {
    bool some = false;
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      one.saddle =
          one.phase == Phase::running && error_of(one) <= x_.set.tolerance && !one.curved && one.pushes < most_pushes;
      some = some || one.saddle;
    }
    if (!some) return false;
    direction_.condense();
    if (!direction_.find_saddles()) return true;
    const Real alpha = x_.gathered([](const Lane& one) { return one.length; });
    x_.barrier.moved(x_.z, x_.sigma, alpha, x_.step.d, x_.dsigma, x_.trial, x_.trial_sigma);
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      if (!one.saddle) continue;
      one.mu = one.mu > State::pushed ? one.mu : State::pushed;
      one.pushes += 1;
      one.filter.empty();
      one.phase = Phase::waiting;
    }
    const Real mu = x_.mu();
    const auto moved = x_.gathered([](const Lane& one) { return one.saddle ? 1.0 : 0.0; }) > Real(0);
    x_.take_states(moved);
    for (int row = 0; row < x_.count; ++row) {
      x_.sigma[row] = select(moved, x_.trial_sigma[row], x_.sigma[row]);
      x_.lambda[row] = select(moved, mu / x_.sigma[row], x_.lambda[row]);
    }
    return true;
  }

  void retire() {
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      if (one.phase != Phase::running) continue;
      const double error = error_of(one);
      const bool stuck = one.failures >= x_.set.patience;
      Status status = Status::running;
      if (error <= x_.set.tolerance || ((stuck || one.lost) && error <= acceptable)) status = Status::converged;
      else if (one.weight * x_.at(x_.values.cost, l) < -unbounded) status = Status::unbounded;
      else if (!(error - error == 0)) status = Status::not_finite;
      else if (one.lost && one.primal > acceptable) status = Status::infeasible;
      else if (stuck || one.lost) status = Status::stalled;
      else if (one.iteration >= x_.set.max_iterations) status = Status::max_iterations;
      if (status == Status::running) continue;
      x_.store(l, status);
      one.phase = Phase::done;
    }
  }

  static double error_of(const Lane& one) {
    double error = one.dual > one.primal || one.dual != one.dual ? one.dual : one.primal;
    const double product = one.complementarity / complementarity_weight;
    return product > error || product != product ? product : error;
  }

  void release() {
    for (int l = 0; l < W; ++l) {
      if (x_.lane[l].phase == Phase::done) x_.lane[l].phase = Phase::idle;
      if (x_.lane[l].phase == Phase::waiting) x_.lane[l].phase = Phase::running;
    }
  }

  void lower_barrier() {
    bool pending[W];
    for (int l = 0; l < W; ++l) pending[l] = x_.lane[l].phase == Phase::running && !x_.lane[l].restoring;
    for (int round = 0; round < 20; ++round) {
      bool some = false;
      for (int l = 0; l < W; ++l) some = some || pending[l];
      if (!some) return;
      const Real product = x_.barrier.complementarity(x_.sigma, x_.lambda, x_.mu());
      for (int l = 0; l < W; ++l) {
        if (!pending[l]) continue;
        Lane& one = x_.lane[l];
        double error = one.dual > one.primal ? one.dual : one.primal;
        if (x_.at(product, l) > error) error = x_.at(product, l);
        pending[l] = error <= x_.set.barrier_solved * one.mu && one.mu > x_.set.smallest_barrier();
        if (!pending[l]) continue;
        double lower = x_.set.barrier_factor * one.mu;
        const double power = __builtin_pow(one.mu, x_.set.barrier_power);
        if (power < lower) lower = power;
        one.mu = lower > x_.set.smallest_barrier() ? lower : x_.set.smallest_barrier();
        one.filter.empty();
      }
    }
  }

  // The costates and nu with the smallest derivative of the Lagrangian; large ones say nothing.
  void estimate() {
    if (!x_.anyone(Phase::estimating)) return;
    Real size(0);
    for (int k = 0; k <= x_.p.steps; ++k)
      for (int a = 0; a < x_.ns; ++a)
        size = x_.worse(size, abs(x_.step.costate[static_cast<long>(k) * x_.ns + a] * x_.scale[a]));
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      if (one.phase != Phase::estimating) continue;
      const bool good = one.accepted && x_.at(size, l) < largest_estimate;
      for (long i = 0; i < (x_.p.steps + 1L) * x_.ns; ++i)
        x_.at(x_.costate[i], l) = good ? x_.at(x_.step.costate[i], l) : 0.0;
      for (int i = 0; i < x_.r; ++i) x_.at(x_.nu[i], l) = good ? x_.at(x_.step.end[i], l) : 0.0;
      one.phase = Phase::waiting;
    }
  }

  // The constants of newton.py.
  static constexpr int most_pushes = 3;
  static constexpr double complementarity_weight = 1e-2, largest_estimate = 1e3, unbounded = 1e8, acceptable = 1e-6;

  State x_;
  NewtonDirection<W> direction_;
  NewtonSearch<W> search_;
  NewtonRow* const history_;
  Real* gradient_;  // [N+1][nz] of the Lagrangian
};

}  // namespace PMP_ISA
}  // namespace pontryagin
