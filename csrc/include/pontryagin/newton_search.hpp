// How far along a Newton step, for W problems: fraction to the boundary, then halves, each straight and, if that is refused,
// along the nonlinear path; what a search leaves behind. pontryagin/optim/newton/line_search.py explains it.
#pragma once

#include "newton_direction.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
class NewtonSearch {
 public:
  using Real = TileReal<W>;
  using State = NewtonState<W>;
  using Direction = NewtonDirection<W>;
  using Lane = NewtonLane;
  using Phase = NewtonPhase;

  NewtonSearch(State& state, Direction& direction) : x_(state), direction_(direction) {}

  // The next point of every lane that runs, with the costates and multipliers that belong to it.
  void run() {
    if (!x_.anyone(Phase::running)) return;
    begin_search();
    bool fresh = true;
    for (int trial = 0; trial < x_.set.trials && pending(); ++trial) {
      const Real alpha = x_.gathered([](const Lane& one) { return one.length; });
      x_.barrier.moved(x_.z, x_.sigma, alpha, x_.step.d, x_.dsigma, x_.trial, x_.trial_sigma);
      judge(Real(1), false);
      for (int l = 0; l < W; ++l) x_.lane[l].straight = x_.lane[l].trial.phi;
      if (pending(false)) {
        follow(alpha, fresh);
        fresh = false;
      }
      for (int l = 0; l < W; ++l) {
        Lane& one = x_.lane[l];
        one.pending = one.pending && one.length > one.shortest;
        if (one.pending) one.length *= 0.5;
      }
    }
    end_search();
  }

 private:
  void begin_search() {
    Merit merit[W];
    x_.merit_of(x_.values, x_.wrong, x_.sigma, merit);
    Real slope(0), largest(0), logs(0);
    for (int k = 0; k <= x_.p.steps; ++k)
      for (int a = 0; a < (k < x_.p.steps ? x_.nz : x_.ns); ++a) {
        const Real d = x_.barrier.component(x_.step.d, k, a);
        slope = fma(x_.slopes.gradient[static_cast<long>(k) * x_.row() + a], d, slope);
        largest = x_.worse(largest, abs(d) / x_.scale[a]);
      }
    x_.barrier.each([&](int row, int, const Inequality& one) {
      logs = fma(Real(one.weight), x_.dsigma[row] / x_.sigma[row], logs);
    });
    slope = fnma(x_.mu(), logs, slope);
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      one.accepted = one.joins = one.pending = one.curved = false;
      if (one.phase != Phase::running) continue;
      one.at = merit[l], one.slope = x_.at(slope, l), one.tiny = x_.at(largest, l) < tiny;
      one.curved = one.delta == 0 && !one.restoring && one.complementarity <= centred && x_.at(largest, l) <= near;
      one.shortest = one.restoring ? shortest_restoring : one.filter.shortest(one.at, one.slope);
      one.pending = one.length > one.shortest;
    }
  }

  // Whether anyone waits for a good trial; a restoration takes straight ones alone.
  bool pending(bool restoring = true) const {
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].pending && (restoring || !x_.lane[l].restoring)) return true;
    return false;
  }

  // The nonlinear path along the step, where the straight one was refused: a second-order correction of the dynamics, whose
  // defects are 1 - alpha of what they were however long the step is. It counts where it stays inside of its bounds.
  void follow(Real alpha, bool fresh) {
    direction_.follow(alpha, fresh);
    Real inside = x_.gathered([](const Lane& one) { return one.restoring ? 0.0 : 1.0; });
    const Real least = min(Real(0.01), x_.mu());
    x_.barrier.each([&](int row, int k, const Inequality& one) {
      if (!x_.barrier.is_bound(one)) {
        x_.trial_sigma[row] = fma(alpha, x_.dsigma[row], x_.sigma[row]);
        return;
      }
      const Real slack = x_.barrier.gap(x_.trial, k, one);
      x_.trial_sigma[row] = slack;
      inside = select(slack >= least * x_.sigma[row], inside, Real(0));
    });
    judge(inside, true);
  }

  // Takes the trials that are good, of lanes that wait and where `allowed` is positive.
  void judge(Real allowed, bool along_path) {
    if (along_path) x_.steps.other_values(x_.trial, x_.trial_values);
    else x_.steps.values(x_.trial, x_.trial_values);
    x_.find_residuals(x_.trial, x_.trial_values, x_.trial_sigma, x_.trial_wrong);
    Merit merit[W];
    x_.merit_of(x_.trial_values, x_.trial_wrong, x_.trial_sigma, merit);
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      one.trial = merit[l];
      one.taking = one.pending && x_.at(allowed, l) > 0 &&
                   (along_path ? is_near(one) && is_good(l) : is_good(l) || ventures(one));
    }
    take_trials();
  }

  // A path has hardly any defects wherever it goes: its phi must not be far from what the step foresees.
  static bool is_near(const Lane& one) {
    double foreseen = one.straight - one.at.phi;
    if (!(foreseen - foreseen == 0)) foreseen = 1 + (one.at.phi < 0 ? -one.at.phi : one.at.phi);
    return one.trial.phi - one.at.phi <= (foreseen < 0 ? -foreseen : foreseen) + one.at.theta;
  }

  // Whether to accept the trial of a lane.
  bool is_good(int l) {
    Lane& one = x_.lane[l];
    bool joins = false;
    const bool accepted = one.filter.verdict(one.at, one.slope, one.length, one.trial, joins);
    one.joins = joins;
    if (one.restoring) return one.trial.theta <= (1 - 1e-4 * one.length) * one.at.theta;
    return accepted || (one.tiny && one.at.theta <= met && one.trial.phi - one.trial.phi == 0);
  }

  // A point from which a problem ventured is none that others are measured by.
  static bool ventures(Lane& one) {
    if (one.restoring || !one.filter.ventures(one.at, one.trial)) return false;
    one.joins = false;
    return true;
  }

  void end_search() {
    Merit now[W];
    for (int l = 0; l < W; ++l) now[l] = x_.lane[l].taken();
    const Real alpha = x_.gathered([](const Lane& one) {
      return one.phase == Phase::running && one.accepted && !one.restoring ? one.length : 0.0;
    });
    const Real dual_alpha = x_.gathered(
        [](const Lane& one) { return one.phase == Phase::running && one.accepted ? one.dual_length : 0.0; });
    const auto moves = alpha > Real(0);
    for (long i = 0; i < (x_.p.steps + 1L) * x_.ns; ++i)
      x_.costate[i] = select(moves, fma(alpha, x_.step.costate[i] - x_.costate[i], x_.costate[i]), x_.costate[i]);
    for (int i = 0; i < x_.r; ++i) x_.nu[i] = select(moves, fma(alpha, x_.step.end[i] - x_.nu[i], x_.nu[i]), x_.nu[i]);
    const Real barrier = x_.mu(),
               within = x_.gathered([](const Lane& one) { return one.restoring ? 1.0 : State::central; });
    const Real runs = x_.gathered([](const Lane& one) { return one.phase == Phase::running ? 1.0 : 0.0; });
    for (int row = 0; row < x_.count; ++row) {
      const Real middle = barrier / x_.sigma[row], low = middle / within, high = middle * within;
      const Real wanted =
          select(dual_alpha > Real(0), fma(dual_alpha, x_.dlambda[row], x_.lambda[row]), x_.lambda[row]);
      const Real kept = select(wanted < low, low, select(wanted > high, high, wanted));
      x_.lambda[row] = select(runs > Real(0), kept, x_.lambda[row]);
    }
    for (int l = 0; l < W; ++l)
      if (x_.lane[l].phase == Phase::running) remember(l, now[l]);
  }

  // The filter; restorations that begin and end; searches that failed.
  void remember(int l, Merit now) {
    Lane& one = x_.lane[l];
    const bool failed = !one.accepted, feasible = one.primal <= feasible_factor * x_.set.tolerance;
    one.alpha = failed ? 0 : one.length;
    one.iteration += 1;
    if (one.accepted && one.joins && !one.restoring) one.filter.join(one.at);
    bool creeps = one.accepted && one.alpha < crawl && !one.restoring && !feasible;
    const bool begins = !one.restoring && ((failed && !feasible) || (creeps && one.crawl + 1 >= crawled));
    if (begins) one.filter.join(one.at);
    const double enough = (one.restorations > trusted ? 0.01 : restored) * one.entry;
    const bool ends = one.restoring && now.theta <= enough && one.filter.accepts(now);
    creeps = creeps || (one.restoring && now.theta > (1 - slow) * one.at.theta);
    one.crawl = creeps && !begins && !ends ? one.crawl + 1 : 0;
    const bool blocked = failed && !one.restoring && feasible;  // a model that is too long: regularise
    double floor = one.floor / 10;
    if (blocked) floor = 10 * one.floor > x_.set.first_regularisation ? 10 * one.floor : x_.set.first_regularisation;
    one.floor = floor < 0.1 * x_.set.first_regularisation ? 0 : floor;
    // The barrier may be what holds a restoration back.
    const bool blind = one.restoring && (one.alpha < shortest_restoring || one.crawl >= slowed) && !ends;
    const bool lower = blind && one.mu > x_.set.warm_barrier;
    one.lost = blind && !lower;
    if (lower) one.mu = lowered * one.mu > x_.set.warm_barrier ? lowered * one.mu : x_.set.warm_barrier, one.crawl = 0;
    if (ends) one.last_delta = 0;
    if (begins) one.entry = one.at.theta;
    one.restoring = (one.restoring || begins) && !ends;
    one.restorations += begins ? 1 : 0;
    one.failures = blocked ? one.failures + 1 : failed ? one.failures : 0;
    if (ends) one.phase = Phase::estimating;
  }

  // The trials of these lanes become their points.
  void take_trials() {
    Real takes = x_.gathered([](const Lane& one) { return one.taking ? 1.0 : 0.0; });
    const auto mask = takes > Real(0);
    if (!any(mask)) return;
    x_.take_states(mask);
    for (int row = 0; row < x_.count; ++row) x_.sigma[row] = select(mask, x_.trial_sigma[row], x_.sigma[row]);
    for (int l = 0; l < W; ++l) {
      Lane& one = x_.lane[l];
      if (one.taking) one.accepted = true, one.pending = false, one.reached = one.trial;
      one.taking = false;
    }
  }

  static constexpr double near = 1e-4, centred = 1e-6, restored = 0.9, feasible_factor = 10.0, tiny = 1e-14, met = 1e-8,
                          shortest_restoring = 1e-8, lowered = 1e-2, crawl = 0.1, slow = 1e-3;
  static constexpr int trusted = 4, crawled = 30, slowed = 10;

  State& x_;
  Direction& direction_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
