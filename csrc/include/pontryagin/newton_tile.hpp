// Newton's method for W problems side by side: the loop of pontryagin/optim/newton/newton.py, which explains every phase.
//
// What is arithmetic runs on packs of lanes, what is a decision runs lane by lane. A lane holds one problem with its own
// barrier, regularisation, filter, step and status; what the others do never enters its numbers. All lanes make the
// passes of an iteration together: one that needs no second trial, or is done, looks on.
//
// A problem begins with an iteration that finds its scales and estimates its multipliers; so does one whose restoration
// has ended.
#pragma once

#include "newton_barrier.hpp"
#include "newton_filter.hpp"
#include "newton_riccati.hpp"
#include "newton_steps.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class Shape, int W>
class NewtonTile {
 public:
  using Real = Pack<double, W>;
  using Status = NewtonStatus;

  NewtonTile(const NewtonProblem& problem, const PointFunctions& functions, const NewtonSettings& settings,
             const NewtonBatch& batch, NewtonRow* history, Arena& arena)
      : p_(problem), set_(settings), batch_(batch), history_(history), size_(problem), ns_(size_.ns), nv_(size_.m),
        nz_(size_.nz), r_(size_.r), count_(p_.inequality_count()), barrier_(problem),
        steps_(problem, functions, arena), riccati_(problem, arena) {
    z_.take(arena, p_), trial_.take(arena, p_);
    values_.take(arena, p_), trial_values_.take(arena, p_), slopes_.take(arena, p_);
    step_.take(arena, p_), correction_.take(arena, p_);
    wrong_.take(arena, p_), total_.take(arena, p_), trial_wrong_.take(arena, p_);
    costate_ = arena.take<Real>((p_.steps + 1L) * ns_), nu_ = arena.take<Real>(r_);
    sigma_ = arena.take<Real>(count_), lambda_ = arena.take<Real>(count_), trial_sigma_ = arena.take<Real>(count_);
    dsigma_ = arena.take<Real>(count_), dlambda_ = arena.take<Real>(count_);
    correction_dsigma_ = arena.take<Real>(count_), unused_ = arena.take<Real>(count_);
    gradient_ = arena.take<Real>((p_.steps + 1L) * nz_);
    scale_ = arena.take<Real>(nz_), unit_end_ = arena.take<Real>(r_), unit_path_ = arena.take<Real>(p_.rows);
    row_of_ = arena.take<int>((p_.steps + 1L) * p_.rows);
    lane_ = arena.take<Lane>(W);
  }

  void prepare() {
    steps_.prepare();
    for (long i = 0; i < (p_.steps + 1L) * p_.rows; ++i) row_of_[i] = -1;
    barrier_.each([&](int row, int k, const Inequality& one) {
      if (!barrier_.is_bound(one)) row_of_[barrier_.path_row(k, one)] = row;
    });
    for (int l = 0; l < W; ++l) {
      lane_[l] = Lane();
      load(l, 0);  // something finite
      lane_[l].phase = Phase::idle;
    }
  }

  // -- problems come and go ------------------------------------------------------------------------------------------

  int active() const {
    int count = 0;
    for (int l = 0; l < W; ++l) count += lane_[l].phase != Phase::idle ? 1 : 0;
    return count;
  }
  void clear() {
    for (int l = 0; l < W; ++l) lane_[l].phase = Phase::idle;
  }

  // Takes a problem of the batch into a lane that is free.
  void add(long problem) {
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase == Phase::idle) {
        load(l, problem);
        return;
      }
  }

  // One iteration of every lane. A problem that ends is written to the batch, and its lane is free.
  void iterate() {
    linearise();
    begin();
    measure();
    retire();
    if (!anyone(Phase::running) && !anyone(Phase::estimating)) {
      release();
      return;
    }
    lower_barrier();
    condense();
    factorise();
    direction();
    estimate();
    search();
    release();
  }

  // Writes everything that still runs to the batch as it stands.
  void give_up() {
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase != Phase::idle) {
        store(l, Status::running);
        lane_[l].phase = Phase::idle;
      }
  }

  // -- other questions -----------------------------------------------------------------------------------------------

  // Replaces the guess by the path that its controls lead to, where that violates less than `favour` times as much.
  void choose_start(double favour) {
    with_zero_multipliers();
    linearise();
    for (int l = 0; l < W; ++l) measure_scales(l);
    double guess[W], rolled[W];
    start_violation(z_, values_, guess);
    copy_point(z_, trial_);
    steps_.roll_out(trial_);
    steps_.values(trial_, trial_values_);
    start_violation(trial_, trial_values_, rolled);
    for (int l = 0; l < W; ++l)
      if (rolled[l] < favour * guess[l]) take_trial(l, false);
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase != Phase::idle) store_point(l);
  }

  // Rows of the history to which all problems here have contributed.
  int told() const {
    int rows = 1 << 30;
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase != Phase::idle) {
        const int own = lane_[l].iteration - 1;  // it tells of an iteration when the next one begins
        rows = own < rows ? own : rows;
      }
    return rows;
  }

  void find_values() { steps_.values(z_, values_); }
  void find_slopes() { linearise(); }

  const NewtonProblem& problem() const { return p_; }
  const PointValues<Real>& values() const { return values_; }
  const PointSlopes<Real>& slopes() const { return slopes_; }
  // Component a of F_k.
  Real following(int k, int a) const {
    return a < p_.n ? values_.next[static_cast<long>(k) * p_.n + a] : steps_.carried(z_, k, a);
  }
  // The multipliers that a Hessian is asked for with: costates [N+1][ns], nu [r], mu [N+1][rows] and the weight of J.
  void set_multipliers(int l, const double* costate, const double* nu, const double* mu, double weight) {
    for (long i = 0; i < (p_.steps + 1L) * ns_; ++i) at(costate_[i], l) = costate[i];
    for (int i = 0; i < r_; ++i) at(nu_[i], l) = nu[i];
    for (long i = 0; i < (p_.steps + 1L) * p_.rows; ++i)
      if (row_of_[i] >= 0) at(lambda_[row_of_[i]], l) = mu[i];
    lane_[l].weight = weight;
  }

 private:
  enum class Phase : int {
    idle,        // no problem
    beginning,   // scales are not known
    waiting,     // multipliers have changed: derivatives are of the old ones
    estimating,  // multipliers are not known
    running,
    done,  // written down
  };

  struct Lane {
    Phase phase = Phase::idle;
    long problem = 0;
    bool known = false;
    double weight = 1, mu = 1, delta = 0;
    double last_delta = 0, floor = 0, entry = 0;  // Memory of newton.py
    bool restoring = false, lost = false;
    int failures = 0, iteration = 0;
    double alpha = 0;
    double dual = 0, primal = 0, complementarity = 0;
    // of a search
    double length = 0, dual_length = 0, shortest = 0, slope = 0, before = 0;
    Merit at{}, trial{}, reached{};
    bool pending = false, accepted = false, joins = false, tiny = false, correcting = false;
    NewtonFilter filter;
    // Merit of the point after a search.
    Merit taken() const { return accepted ? reached : at; }
  };

  static PMP_INLINE double& at(Real& value, int lane) { return reinterpret_cast<double*>(&value)[lane]; }
  static PMP_INLINE double at(const Real& value, int lane) { return reinterpret_cast<const double*>(&value)[lane]; }
  template <class F>
  PMP_INLINE Real gathered(F f) const {
    alignas(64) double numbers[W];
    for (int l = 0; l < W; ++l) numbers[l] = f(lane_[l]);
    return Real::load(numbers);
  }
  Real mu() const {
    return gathered([](const Lane& one) { return one.mu; });
  }
  Real weight() const {
    return gathered([](const Lane& one) { return one.weight; });
  }
  bool anyone(Phase phase) const {
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase == phase) return true;
    return false;
  }

  // -- the phases of an iteration ------------------------------------------------------------------------------------

  void linearise() {
    const auto multiplier = [&](int k, int i) {
      const int row = row_of_[k * p_.rows + i];
      return row < 0 ? Real(0) : lambda_[row];
    };
    steps_.linearise(z_, costate_, nu_, multiplier, weight(), set_.exact, values_, slopes_);
    find_residuals(z_, values_, sigma_, wrong_);
  }

  void find_residuals(const Unknowns<Real>& z, const PointValues<Real>& values, const Real* sigma, Residuals<Real>& wrong) {
    for (int k = 0; k < p_.steps; ++k) {
      const Real* following = z.s + (k + 1L) * ns_;
      Real* defect = wrong.defect + static_cast<long>(k) * ns_;
      for (int a = 0; a < ns_; ++a)
        defect[a] = (a < p_.n ? values.next[static_cast<long>(k) * p_.n + a] : steps_.carried(z, k, a)) - following[a];
    }
    for (int a = 0; a < ns_; ++a) wrong.initial[a] = p_.free[a] ? Real(0) : steps_.initial[a] - z.s[a];
    for (int i = 0; i < r_; ++i) wrong.end[i] = values.end[i];
    barrier_.residual(values.path, sigma, wrong.path);
  }

  // Problems whose derivatives with weight one and without multipliers are there now: scales, slacks and the filter.
  void begin() {
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase == Phase::beginning) begin_lane(l);
  }

  void begin_lane(int l) {
    Lane& one = lane_[l];
    measure_scales(l);
    const double weight = one.weight;
    for (long i = 0; i < (p_.steps + 1L) * nz_; ++i) at(slopes_.gradient[i], l) *= weight;
    one.mu = set_.warm && one.known ? set_.warm_barrier : set_.barrier;
    if (one.mu < set_.smallest_barrier()) one.mu = set_.smallest_barrier();
    const double* sigma = batch_.sigma + one.problem * (p_.steps + 1L) * (2L * nz_ + p_.rows);
    const double* lambda = batch_.multiplier + one.problem * (p_.steps + 1L) * (2L * nz_ + p_.rows);
    barrier_.each([&](int row, int k, const Inequality& inequality) {
      const bool bound = barrier_.is_bound(inequality);
      double slack;
      if (bound) {
        slack = at(barrier_.gap(z_, k, inequality), l);
      } else {
        const double c = at(values_.path[barrier_.path_row(k, inequality)], l);
        const double least = 1e-2 * at(unit_path_[inequality.index - 2 * nz_], l);
        slack = -c > least ? -c : least;
      }
      double multiplier = one.mu / slack;
      if (set_.warm && one.known) {
        const long place = k * (2L * nz_ + p_.rows) + inequality.index;
        if (!bound) slack = sigma[place];
        multiplier = clipped(weight * lambda[place], one.mu / slack, central);
      }
      at(sigma_[row], l) = slack, at(lambda_[row], l) = multiplier;
    });
    if (set_.warm && one.known) {
      const double* p = batch_.costate + one.problem * (p_.steps + 1L) * ns_;
      for (long i = 0; i < (p_.steps + 1L) * ns_; ++i) at(costate_[i], l) = weight * p[i];
      for (int i = 0; i < r_; ++i) at(nu_[i], l) = weight * batch_.end[one.problem * r_ + i];
    }
    find_residuals(z_, values_, sigma_, wrong_);
    double theta[W];
    total_violation(wrong_, theta);
    one.filter.begin(theta[l]);
    one.phase = set_.warm && one.known ? Phase::waiting : Phase::estimating;
  }

  void measure() {
    const int last = p_.steps;
    // derivative of the Lagrangian, in gradient_
    for (long i = 0; i < (last + 1L) * nz_; ++i) gradient_[i] = slopes_.gradient[i];
    barrier_.each([&](int row, int k, const Inequality& one) {
      barrier_.pull(slopes_, one, k, Real(one.weight) * lambda_[row], gradient_);
    });
    Real dual(0), mean(0);
    for (int k = 0; k <= last; ++k) {
      Real* slope = gradient_ + static_cast<long>(k) * nz_;
      Real* p = costate_ + static_cast<long>(k) * ns_;
      if (k < last) {
        const Real *J = slopes_.jacobian + static_cast<long>(k) * p_.n * nz_, *next = p + ns_;
        for (int j = 0; j < p_.n; ++j) add_multiple(next[j], J + static_cast<long>(j) * nz_, slope, nz_);
        for (int a = p_.n; a < ns_; ++a) {
          Real& place = slope[p_.linear_control && a < p_.n + p_.m ? ns_ + a - p_.n : a];
          place = place + next[a];
        }
      } else {
        for (int i = 0; i < r_; ++i) add_multiple(nu_[i], slopes_.end + static_cast<long>(i) * ns_, slope, ns_);
      }
      for (int a = 0; a < ns_; ++a) {
        if (k > 0) {
          slope[a] = slope[a] - p[a];
        } else {  // of the initial state: nothing else
          p[a] = p_.free[a] ? Real(0) : slope[a];
          if (!p_.free[a]) slope[a] = Real(0);
        }
        mean = mean + abs(p[a] * scale_[a]);
      }
      for (int a = 0; a < (k < last ? nz_ : ns_); ++a)
        dual = worse(dual, abs(slope[a] * scale_[a]) * Real(1 / p_.bound_weights[k * nz_ + a]));
    }
    const Real unit = mean * Real(1 / (100.0 * (last + 1.0) * ns_));
    dual = dual / select(unit > Real(1), unit, Real(1));
    const Real primal = violation(wrong_), product = barrier_.complementarity(sigma_, lambda_, Real(0));
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase == Phase::running) {
        Lane& one = lane_[l];
        one.dual = at(dual, l), one.primal = at(primal, l), one.complementarity = at(product, l);
        if (one.iteration > 0) tell(l);
      }
  }

  void tell(int l) {
    if (history_ == nullptr) return;
    const Lane& one = lane_[l];
    NewtonRow& row = history_[one.iteration - 1];
    const auto most = [](double& so_far, double value) {
      if (!(value <= so_far)) so_far = value;
    };
    row.running += 1, row.objective += at(values_.cost, l);
    most(row.dual, one.dual), most(row.primal, one.primal), most(row.complementarity, one.complementarity);
    most(row.barrier, one.mu), most(row.regularisation, one.delta);
    if (one.alpha < row.step) row.step = one.alpha;
  }

  void retire() {
    for (int l = 0; l < W; ++l) {
      Lane& one = lane_[l];
      if (one.phase != Phase::running) continue;
      const double error = error_of(one);
      const bool stuck = one.failures >= set_.patience;
      Status status = Status::running;
      if (error <= set_.tolerance || ((stuck || one.lost) && error <= acceptable)) status = Status::converged;
      else if (one.weight * at(values_.cost, l) < -unbounded) status = Status::unbounded;
      else if (!(error - error == 0)) status = Status::not_finite;
      else if (one.lost && one.primal > acceptable) status = Status::infeasible;
      else if (stuck || one.lost) status = Status::stalled;
      else if (one.iteration >= set_.max_iterations) status = Status::max_iterations;
      if (status == Status::running) continue;
      store(l, status);
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
      if (lane_[l].phase == Phase::done) lane_[l].phase = Phase::idle;
      if (lane_[l].phase == Phase::waiting) lane_[l].phase = Phase::running;
    }
  }

  void lower_barrier() {
    bool pending[W];
    for (int l = 0; l < W; ++l) pending[l] = lane_[l].phase == Phase::running && !lane_[l].restoring;
    for (int round = 0; round < 20; ++round) {
      bool some = false;
      for (int l = 0; l < W; ++l) some = some || pending[l];
      if (!some) return;
      const Real product = barrier_.complementarity(sigma_, lambda_, mu());
      for (int l = 0; l < W; ++l) {
        if (!pending[l]) continue;
        Lane& one = lane_[l];
        double error = one.dual > one.primal ? one.dual : one.primal;
        if (at(product, l) > error) error = at(product, l);
        pending[l] = error <= set_.barrier_solved * one.mu && one.mu > set_.smallest_barrier();
        if (!pending[l]) continue;
        double lower = set_.barrier_factor * one.mu;
        const double power = __builtin_pow(one.mu, set_.barrier_power);
        if (power < lower) lower = power;
        one.mu = lower > set_.smallest_barrier() ? lower : set_.smallest_barrier();
        one.filter.empty();
      }
    }
  }

  Real keeps_cost() const {
    return gathered([](const Lane& one) { return one.phase == Phase::estimating || one.restoring ? 0.0 : 1.0; });
  }
  Real has_barrier() const {
    return gathered([](const Lane& one) { return one.phase == Phase::estimating ? 0.0 : 1.0; });
  }

  void condense() { barrier_.condense(slopes_, sigma_, lambda_, keeps_cost(), has_barrier()); }

  // With the smallest delta tried that makes the inertia right.
  void factorise() {
    double delta[W], factor[W], first[W];
    bool needed[W];
    for (int l = 0; l < W; ++l) {
      const Lane& one = lane_[l];
      const double least = __builtin_sqrt(one.mu) > 1e-6 ? __builtin_sqrt(one.mu) : 1e-6;
      delta[l] = one.phase == Phase::estimating ? 1.0 : one.restoring ? least : one.floor;
      const bool known = one.last_delta > 0;
      first[l] = known ? (one.last_delta / 3 > 1e-12 ? one.last_delta / 3 : 1e-12) : set_.first_regularisation;
      factor[l] = known ? 8.0 : 100.0, needed[l] = false;
    }
    for (int i = 0; i < nz_; ++i) riccati_.proximal[i] = Real(1) / (scale_[i] * scale_[i]);
    for (int i = 0; i < r_; ++i) riccati_.rho[i] = Real(set_.penalty) / (unit_end_[i] * unit_end_[i]);
    riccati_.relaxed = gathered([](const Lane& one) {
      return one.restoring && one.phase == Phase::running ? 1.0 : 0.0;
    });
    while (true) {
      for (int l = 0; l < W; ++l) lane_[l].delta = delta[l];
      const Real good = riccati_.factorise(slopes_.hessian, slopes_, regularisation());
      bool again = false;
      for (int l = 0; l < W; ++l) {
        Lane& one = lane_[l];
        one.accepted = at(good, l) > 0;  // of the inertia, until the search
        if (one.accepted || one.phase != Phase::running || !(delta[l] < set_.largest_regularisation)) continue;
        const double more = first[l] > 8 * delta[l] ? first[l] : 8 * delta[l];
        delta[l] = needed[l] ? delta[l] * factor[l] : more;
        needed[l] = again = true;
      }
      if (!again) break;
    }
    for (int l = 0; l < W; ++l)
      if (needed[l]) lane_[l].last_delta = delta[l];
    riccati_.factorise_end(slopes_);
  }
  Real regularisation() const {
    return gathered([](const Lane& one) { return one.delta; });
  }

  void direction() {
    if (anyone(Phase::estimating)) {  // all constraints are kept as they are
      const Real keep = has_barrier();
      const auto mask = [&](Real* rows, long count) {
        for (long i = 0; i < count; ++i) rows[i] = select(keep > Real(0), rows[i], Real(0));
      };
      mask(wrong_.defect, static_cast<long>(p_.steps) * ns_), mask(wrong_.initial, ns_), mask(wrong_.end, r_);
      mask(wrong_.path, (p_.steps + 1L) * p_.rows);
    }
    Real longest, longest_dual;
    solve(wrong_, estimating_gradient(), step_, dsigma_, dlambda_, longest, longest_dual);
    for (int l = 0; l < W; ++l) lane_[l].length = at(longest, l), lane_[l].dual_length = at(longest_dual, l);
  }

  // The cost of a lane that estimates multipliers stays in the gradient, though not in the Hessian.
  Real estimating_gradient() const {
    return gathered([](const Lane& one) { return one.restoring && one.phase == Phase::running ? 0.0 : 1.0; });
  }

  void solve(const Residuals<Real>& wrong, Real keep, NewtonStep<Real>& step, Real* dsigma, Real* dlambda, Real& longest,
             Real& longest_dual) {
    barrier_.gradient(slopes_, sigma_, lambda_, mu(), wrong.path, keep, has_barrier(), gradient_);
    riccati_.solve(slopes_.hessian, slopes_, regularisation(), gradient_, wrong, step);
    barrier_.direction(slopes_, sigma_, lambda_, mu(), wrong.path, step.d, dsigma, dlambda, longest, longest_dual);
  }

  // The costates and nu with the smallest derivative of the Lagrangian; large ones say nothing.
  void estimate() {
    if (!anyone(Phase::estimating)) return;
    Real size(0);
    for (int k = 0; k <= p_.steps; ++k)
      for (int a = 0; a < ns_; ++a) size = worse(size, abs(step_.costate[static_cast<long>(k) * ns_ + a] * scale_[a]));
    for (int l = 0; l < W; ++l) {
      Lane& one = lane_[l];
      if (one.phase != Phase::estimating) continue;
      const bool good = one.accepted && at(size, l) < largest_estimate;
      for (long i = 0; i < (p_.steps + 1L) * ns_; ++i) at(costate_[i], l) = good ? at(step_.costate[i], l) : 0.0;
      for (int i = 0; i < r_; ++i) at(nu_[i], l) = good ? at(step_.end[i], l) : 0.0;
      one.phase = Phase::waiting;
    }
  }

  // -- the search ----------------------------------------------------------------------------------------------------

  void search() {
    if (!anyone(Phase::running)) return;
    begin_search();
    for (int trial = 0; trial < set_.trials; ++trial) {
      bool some = false;
      for (int l = 0; l < W; ++l) some = some || lane_[l].pending;
      if (!some) break;
      try_at(gathered([](const Lane& one) { return one.length; }), step_.d, dsigma_);
      for (int l = 0; l < W; ++l) {
        Lane& one = lane_[l];
        one.correcting = false;
        if (!one.pending) continue;
        if (is_good(l)) take_trial(l, true);
        else one.correcting = trial == 0 && !one.restoring && one.trial.theta >= one.at.theta;
      }
      if (trial == 0) correct();
      for (int l = 0; l < W; ++l) {
        Lane& one = lane_[l];
        one.pending = one.pending && !one.accepted && one.length > one.shortest;
        if (one.pending) one.length *= 0.5;
      }
    }
    end_search();
  }

  void begin_search() {
    Merit merit[W];
    merit_of(values_, wrong_, sigma_, merit);
    Real slope(0), largest(0), logs(0);
    for (int k = 0; k <= p_.steps; ++k)
      for (int a = 0; a < (k < p_.steps ? nz_ : ns_); ++a) {
        const Real d = barrier_.component(step_.d, k, a);
        slope = fma(slopes_.gradient[static_cast<long>(k) * nz_ + a], d, slope);
        largest = worse(largest, abs(d) / scale_[a]);
      }
    barrier_.each([&](int row, int, const Inequality& one) {
      logs = fma(Real(one.weight), dsigma_[row] / sigma_[row], logs);
    });
    slope = fnma(mu(), logs, slope);
    for (int l = 0; l < W; ++l) {
      Lane& one = lane_[l];
      one.accepted = one.joins = one.pending = one.correcting = false;
      if (one.phase != Phase::running) continue;
      one.at = merit[l], one.slope = at(slope, l), one.tiny = at(largest, l) < tiny;
      one.shortest = one.restoring ? shortest_restoring : one.filter.shortest(one.at, one.slope);
      one.pending = one.length > one.shortest;
    }
  }

  void try_at(Real alpha, const Unknowns<Real>& d, const Real* dsigma) {
    barrier_.moved(z_, sigma_, alpha, d, dsigma, trial_, trial_sigma_);
    steps_.values(trial_, trial_values_);
    find_residuals(trial_, trial_values_, trial_sigma_, trial_wrong_);
    Merit merit[W];
    merit_of(trial_values_, trial_wrong_, trial_sigma_, merit);
    for (int l = 0; l < W; ++l) lane_[l].trial = merit[l];
  }

  // Whether to accept the trial of a lane.
  bool is_good(int l) {
    Lane& one = lane_[l];
    bool joins = false;
    const bool accepted = one.filter.verdict(one.at, one.slope, one.length, one.trial, joins);
    one.joins = joins;
    if (one.restoring) return one.trial.theta <= (1 - 1e-4 * one.length) * one.at.theta;
    return accepted || (one.tiny && one.at.theta <= met && one.trial.phi - one.trial.phi == 0);
  }

  // Second-order corrections: the same step with the residuals of the trial added.
  void correct() {
    bool some = false;
    for (int l = 0; l < W; ++l) {
      some = some || lane_[l].correcting;
      lane_[l].before = lane_[l].at.theta;
    }
    if (!some) return;
    copy_residuals(wrong_, total_);
    for (int round = 0; round < set_.corrections && some; ++round) {
      add_residuals(gathered([](const Lane& one) { return one.length; }), trial_wrong_, total_);
      Real longest, unused;
      solve(total_, estimating_gradient(), correction_, correction_dsigma_, unused_, longest, unused);
      try_at(longest, correction_.d, correction_dsigma_);
      some = false;
      for (int l = 0; l < W; ++l) {
        Lane& one = lane_[l];
        if (!one.correcting) continue;
        if (is_good(l)) {
          take_trial(l, true);
          one.correcting = false;
        } else {
          one.correcting = one.trial.theta <= progress * one.before;
          one.before = one.trial.theta;
        }
        some = some || one.correcting;
      }
    }
  }

  void end_search() {
    Merit now[W];
    for (int l = 0; l < W; ++l) now[l] = lane_[l].taken();
    const Real alpha = gathered([](const Lane& one) {
      return one.phase == Phase::running && one.accepted && !one.restoring ? one.length : 0.0;
    });
    const Real dual_alpha = gathered([](const Lane& one) {
      return one.phase == Phase::running && one.accepted ? one.dual_length : 0.0;
    });
    const auto moves = alpha > Real(0);
    for (long i = 0; i < (p_.steps + 1L) * ns_; ++i)
      costate_[i] = select(moves, fma(alpha, step_.costate[i] - costate_[i], costate_[i]), costate_[i]);
    for (int i = 0; i < r_; ++i) nu_[i] = select(moves, fma(alpha, step_.end[i] - nu_[i], nu_[i]), nu_[i]);
    const Real barrier = mu(), within = gathered([](const Lane& one) { return one.restoring ? 1.0 : central; });
    const Real runs = gathered([](const Lane& one) { return one.phase == Phase::running ? 1.0 : 0.0; });
    for (int row = 0; row < count_; ++row) {
      const Real middle = barrier / sigma_[row], low = middle / within, high = middle * within;
      const Real wanted = select(dual_alpha > Real(0), fma(dual_alpha, dlambda_[row], lambda_[row]), lambda_[row]);
      const Real kept = select(wanted < low, low, select(wanted > high, high, wanted));
      lambda_[row] = select(runs > Real(0), kept, lambda_[row]);
    }
    for (int l = 0; l < W; ++l)
      if (lane_[l].phase == Phase::running) remember(l, now[l]);
  }

  // The filter; restorations that begin and end; searches that failed.
  void remember(int l, Merit now) {
    Lane& one = lane_[l];
    const bool failed = !one.accepted, feasible = one.primal <= feasible_factor * set_.tolerance;
    one.alpha = failed ? 0 : one.length;
    one.iteration += 1;
    if (one.accepted && one.joins && !one.restoring) one.filter.join(one.at);
    const bool begins = failed && !one.restoring && !feasible;
    if (begins) one.filter.join(one.at);
    const bool ends = one.restoring && now.theta <= restored * one.entry && one.filter.accepts(now);
    const bool blocked = failed && !one.restoring && feasible;  // a model that is too long: regularise
    double floor = one.floor / 10;
    if (blocked) floor = 10 * one.floor > set_.first_regularisation ? 10 * one.floor : set_.first_regularisation;
    one.floor = floor < 0.1 * set_.first_regularisation ? 0 : floor;
    one.lost = one.restoring && one.alpha < shortest_restoring && !ends;
    if (ends) one.last_delta = 0;
    if (begins) one.entry = one.at.theta;
    one.restoring = (one.restoring || begins) && !ends;
    one.failures = blocked ? one.failures + 1 : failed ? one.failures : 0;
    if (ends) one.phase = Phase::estimating;
  }

  // The trial of a lane becomes its point.
  void take_trial(int l, bool with_slacks) {
    const long states = (p_.steps + 1L) * ns_, controls = static_cast<long>(p_.steps) * nv_;
    for (long i = 0; i < states; ++i) at(z_.s[i], l) = at(trial_.s[i], l);
    for (long i = 0; i < controls; ++i) at(z_.v[i], l) = at(trial_.v[i], l);
    if (!with_slacks) return;
    for (int row = 0; row < count_; ++row) at(sigma_[row], l) = at(trial_sigma_[row], l);
    lane_[l].accepted = true, lane_[l].pending = false, lane_[l].reached = lane_[l].trial;
  }

  // -- measures ------------------------------------------------------------------------------------------------------

  static PMP_INLINE Real worse(Real a, Real b) { return max(a, b); }  // not a number if either is

  Real violation(const Residuals<Real>& wrong) const {
    Real worst(0);
    for (int k = 0; k < p_.steps; ++k)
      for (int a = 0; a < ns_; ++a) worst = worse(worst, abs(wrong.defect[static_cast<long>(k) * ns_ + a] / scale_[a]));
    for (int a = 0; a < ns_; ++a) worst = worse(worst, abs(wrong.initial[a] / scale_[a]));
    for (int i = 0; i < r_; ++i) worst = worse(worst, abs(wrong.end[i] / unit_end_[i]));
    for (int k = 0; k <= p_.steps; ++k)
      for (int i = 0; i < p_.rows; ++i)
        worst = worse(worst, abs(wrong.path[static_cast<long>(k) * p_.rows + i] / unit_path_[i]));
    return worst;
  }

  Real sum_of_violations(const Residuals<Real>& wrong) const {
    Real total(0);
    for (int k = 0; k < p_.steps; ++k)
      for (int a = 0; a < ns_; ++a) total = total + abs(wrong.defect[static_cast<long>(k) * ns_ + a] / scale_[a]);
    for (int a = 0; a < ns_; ++a) total = total + abs(wrong.initial[a] / scale_[a]);
    for (int i = 0; i < r_; ++i) total = total + abs(wrong.end[i] / unit_end_[i]);
    for (int k = 0; k <= p_.steps; ++k)
      for (int i = 0; i < p_.rows; ++i)
        total = fma(Real(p_.path_weights[k * p_.rows + i]),
                    abs(wrong.path[static_cast<long>(k) * p_.rows + i] / unit_path_[i]), total);
    return total;
  }

  void total_violation(const Residuals<Real>& wrong, double* theta) const {
    const Real total = sum_of_violations(wrong);
    for (int l = 0; l < W; ++l) theta[l] = at(total, l);
  }

  void merit_of(const PointValues<Real>& values, const Residuals<Real>& wrong, const Real* sigma, Merit* merit) const {
    const Real theta = sum_of_violations(wrong);
    const Real phi = fnma(mu(), barrier_.logarithms(sigma), weight() * values.cost);
    for (int l = 0; l < W; ++l) merit[l] = {at(theta, l), at(phi, l)};
  }

  // Of dynamics, ends and path constraints, and by how far bounds are crossed.
  void start_violation(const Unknowns<Real>& z, const PointValues<Real>& values, double* found) {
    barrier_.each([&](int row, int k, const Inequality& one) {
      if (barrier_.is_bound(one)) return;
      const Real c = values.path[barrier_.path_row(k, one)];
      trial_sigma_[row] = select(c < Real(0), -c, Real(0));
    });
    find_residuals(z, values, trial_sigma_, trial_wrong_);
    Real total = sum_of_violations(trial_wrong_);
    barrier_.each([&](int, int k, const Inequality& one) {
      if (!barrier_.is_bound(one)) return;
      const int i = one.index < nz_ ? one.index : one.index - nz_;
      const Real gap = barrier_.gap(z, k, one);
      total = fma(Real(p_.weights[k]), select(gap < Real(0), -gap, Real(0)) / scale_[i], total);
    });
    for (int l = 0; l < W; ++l) found[l] = at(total, l);
  }

  // From the derivatives at the guess with weight one and no multipliers: pontryagin/optim/newton/scaling.py.
  void measure_scales(int l) {
    Lane& one = lane_[l];
    const double infinity = __builtin_inf();
    for (int i = 0; i < nz_; ++i) {
      double size = 0;
      for (int k = 0; k < p_.steps + (i < ns_ ? 1 : 0); ++k) {
        const double value = __builtin_fabs(at(barrier_.component(z_, k, i), l));
        if (!(value <= size)) size = value;
      }
      const double half = p_.half_width[i];
      if (p_.control[i]) size = half < infinity ? half : size > 1 ? size : 1;
      if (!(size > 1e-3)) size = half < infinity && half > 0 ? half : 1;
      at(scale_[i], l) = size;
    }
    double slope = 0, curvature = 0;
    const auto most = [](double& so_far, double value) {
      if (!(value <= so_far)) so_far = value;
    };
    for (int k = 0; k <= p_.steps; ++k)
      for (int i = 0; i < nz_; ++i) {
        const double scale = at(scale_[i], l), unit = scale / p_.weights[k];
        most(slope, __builtin_fabs(at(slopes_.gradient[static_cast<long>(k) * nz_ + i], l) * unit));
        most(curvature, __builtin_fabs(at(slopes_.hessian[static_cast<long>(k) * triangle(nz_) + place_of(i, i)], l)) * unit * scale);
      }
    double cost = __builtin_fabs(at(values_.cost, l));
    most(cost, slope);
    if (!(cost > 1e-12)) cost = curvature;
    if (!(cost - cost == 0) || !(cost > 0)) cost = 1;
    one.weight = 1 / cost < 1e-8 ? 1e-8 : 1 / cost > 1e4 ? 1e4 : 1 / cost;
    const auto unit = [](double square) {
      const double size = __builtin_sqrt(square);
      return size - size == 0 && size > 0 ? size : 1.0;
    };
    for (int i = 0; i < r_; ++i) {
      double square = 0;
      for (int a = 0; a < ns_; ++a) {
        const double entry = at(slopes_.end[static_cast<long>(i) * ns_ + a], l) * at(scale_[a], l);
        square += entry * entry;
      }
      at(unit_end_[i], l) = unit(square);
    }
    for (int i = 0; i < p_.rows; ++i) {
      double worst = 0;
      for (int k = 0; k <= p_.steps; ++k) {
        double square = 0;
        for (int a = 0; a < nz_; ++a) {
          const double entry = at(slopes_.path[(static_cast<long>(k) * p_.rows + i) * nz_ + a], l) * at(scale_[a], l);
          square += entry * entry;
        }
        most(worst, square);
      }
      at(unit_path_[i], l) = unit(worst);
    }
  }

  // -- between lanes and the batch -----------------------------------------------------------------------------------

  void load(int l, long problem) {
    Lane& one = lane_[l];
    one = Lane();
    one.problem = problem, one.phase = Phase::beginning;
    one.known = set_.warm && batch_.known != nullptr && batch_.known[problem] != 0;
    const auto put = [l](Real* rows, const double* from, long count) {
      for (long i = 0; i < count; ++i) at(rows[i], l) = from[i];
    };
    put(steps_.initial, batch_.initial + problem * ns_, ns_), put(steps_.theta, batch_.theta + problem * p_.q, p_.q);
    const long rows = p_.linear_data ? p_.steps + 1L : p_.steps;
    if (p_.nd > 0) put(steps_.data, batch_.data + problem * batch_.data_stride, rows * p_.nd);
    put(z_.s, batch_.state + problem * (p_.steps + 1L) * ns_, (p_.steps + 1L) * ns_);
    put(z_.v, batch_.control + problem * p_.steps * nv_, static_cast<long>(p_.steps) * nv_);
    for (long i = 0; i < (p_.steps + 1L) * ns_; ++i) at(costate_[i], l) = 0;
    for (int i = 0; i < r_; ++i) at(nu_[i], l) = 0, at(unit_end_[i], l) = 1;
    for (int i = 0; i < p_.rows; ++i) at(unit_path_[i], l) = 1;
    for (int i = 0; i < nz_; ++i) at(scale_[i], l) = 1;
    for (int row = 0; row < count_; ++row) at(lambda_[row], l) = 0, at(sigma_[row], l) = 1;
    if (set_.inside) move_inside(l, set_.warm ? 1e-9 : 1e-2);
  }

  // Moves a problem strictly inside of its bounds.
  void move_inside(int l, double push) {
    for (int k = 0; k <= p_.steps; ++k)
      for (int i = 0; i < (k < p_.steps ? nz_ : ns_); ++i) {
        const double low = p_.low[k * nz_ + i], high = p_.high[k * nz_ + i];
        const double width = high - low;
        const auto pushed = [&](double bound) {
          const double size = __builtin_fabs(bound) > 1 ? __builtin_fabs(bound) : 1;
          return push * size < push * width ? push * size : push * width;
        };
        const double below = low > -__builtin_inf() ? low + pushed(low) : low;
        const double above = high < __builtin_inf() ? high - pushed(high) : high;
        double& value = at(barrier_.component(z_, k, i), l);
        if (value < below) value = below;
        if (value > above) value = above;
      }
  }

  void store_point(int l) {
    const long problem = lane_[l].problem;
    double *s = batch_.state + problem * (p_.steps + 1L) * ns_, *v = batch_.control + problem * p_.steps * nv_;
    for (long i = 0; i < (p_.steps + 1L) * ns_; ++i) s[i] = at(z_.s[i], l);
    for (long i = 0; i < static_cast<long>(p_.steps) * nv_; ++i) v[i] = at(z_.v[i], l);
  }

  void store(int l, Status status) {
    const Lane& one = lane_[l];
    const long b = one.problem, all = 2L * nz_ + p_.rows;
    store_point(l);
    for (long i = 0; i < (p_.steps + 1L) * ns_; ++i)
      batch_.costate[b * (p_.steps + 1L) * ns_ + i] = at(costate_[i], l) / one.weight;
    for (int i = 0; i < r_; ++i) batch_.end[b * r_ + i] = at(nu_[i], l) / one.weight;
    double *sigma = batch_.sigma + b * (p_.steps + 1L) * all, *lambda = batch_.multiplier + b * (p_.steps + 1L) * all;
    for (long i = 0; i < (p_.steps + 1L) * all; ++i) sigma[i] = 1, lambda[i] = 0;
    barrier_.each([&](int row, int k, const Inequality& inequality) {
      const long place = k * all + inequality.index;
      sigma[place] = at(sigma_[row], l), lambda[place] = at(lambda_[row], l) / one.weight;
    });
    double* measures = batch_.measures + 4 * b;
    measures[0] = at(values_.cost, l), measures[1] = one.dual, measures[2] = one.primal, measures[3] = one.complementarity;
    for (int i = 0; i < nz_; ++i) batch_.scale_z[b * nz_ + i] = at(scale_[i], l);
    batch_.scale_weight[b] = one.weight;
    for (int i = 0; i < r_; ++i) batch_.scale_end[b * r_ + i] = at(unit_end_[i], l);
    for (int i = 0; i < p_.rows; ++i) batch_.scale_path[b * p_.rows + i] = at(unit_path_[i], l);
    batch_.status[b] = static_cast<int>(status), batch_.iterations[b] = one.iteration;
  }

  void with_zero_multipliers() {
    fill(costate_, Real(0), (p_.steps + 1L) * ns_), fill(nu_, Real(0), r_), fill(lambda_, Real(0), count_);
  }
  void copy_point(const Unknowns<Real>& from, Unknowns<Real>& to) {
    copy(from.s, to.s, (p_.steps + 1L) * ns_), copy(from.v, to.v, static_cast<long>(p_.steps) * nv_);
  }
  void copy_residuals(const Residuals<Real>& from, Residuals<Real>& to) {
    copy(from.defect, to.defect, static_cast<long>(p_.steps) * ns_), copy(from.initial, to.initial, ns_);
    copy(from.path, to.path, (p_.steps + 1L) * p_.rows), copy(from.end, to.end, r_);
  }
  // to <- alpha to + more
  void add_residuals(Real alpha, const Residuals<Real>& more, Residuals<Real>& to) {
    const auto add = [alpha](const Real* from, Real* rows, long count) {
      for (long i = 0; i < count; ++i) rows[i] = fma(alpha, rows[i], from[i]);
    };
    add(more.defect, to.defect, static_cast<long>(p_.steps) * ns_), add(more.initial, to.initial, ns_);
    add(more.path, to.path, (p_.steps + 1L) * p_.rows), add(more.end, to.end, r_);
  }
  static double clipped(double value, double middle, double factor) {
    const double low = middle / factor, high = middle * factor;
    return value < low ? low : value > high ? high : value;
  }

  // The constants of newton.py, line_search.py and barrier.py.
  static constexpr double complementarity_weight = 1e-2, largest_estimate = 1e3, unbounded = 1e10, acceptable = 1e-6,
                          restored = 0.9, feasible_factor = 10.0, tiny = 1e-14, met = 1e-8, shortest_restoring = 1e-8,
                          progress = 0.99, central = 1e10;

  const NewtonProblem& p_;
  const NewtonSettings& set_;
  const NewtonBatch& batch_;
  NewtonRow* const history_;
  const Sizes<Shape> size_;
  const typename Shape::Carried ns_;
  const typename Shape::Controls nv_;
  const typename Shape::Unknowns nz_;
  const typename Shape::Equalities r_;
  const int count_;
  NewtonBarrier<Shape, W> barrier_;
  NewtonSteps<Shape, W> steps_;
  NewtonRiccati<Shape, W> riccati_;
  Unknowns<Real> z_, trial_;
  PointValues<Real> values_, trial_values_;
  PointSlopes<Real> slopes_;
  NewtonStep<Real> step_, correction_;
  Residuals<Real> wrong_, total_, trial_wrong_;
  Real *costate_, *nu_, *sigma_, *lambda_, *trial_sigma_, *dsigma_, *dlambda_, *correction_dsigma_, *unused_, *gradient_,
      *scale_, *unit_end_, *unit_path_;
  int* row_of_;
  Lane* lane_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
