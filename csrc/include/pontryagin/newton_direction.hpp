// The Newton step of W problems: the linear-quadratic problem with its inequalities condensed, its factors, its answers.
#pragma once

#include "newton_riccati.hpp"
#include "newton_state.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int W>
class NewtonDirection {
 public:
  using Real = TileReal<W>;
  using State = NewtonState<W>;
  using Lane = NewtonLane;
  using Phase = NewtonPhase;

  NewtonDirection(State& state, Arena& arena) : x_(state), riccati_(state.p, state.functions, arena) {
    gradient_ = arena.take<Real>((x_.p.steps + 1L) * x_.row());
  }

  Real keeps_cost() const {
    return x_.gathered([](const Lane& one) { return one.phase == Phase::estimating || one.restoring ? 0.0 : 1.0; });
  }
  Real has_barrier() const {
    return x_.gathered([](const Lane& one) { return one.phase == Phase::estimating ? 0.0 : 1.0; });
  }

  void condense() { x_.barrier.condense(x_.slopes, x_.sigma, x_.lambda, keeps_cost(), has_barrier()); }

  // With the smallest delta tried that makes the inertia right.
  void factorise() {
    double delta[W], factor[W], first[W];
    bool needed[W];
    for (int l = 0; l < W; ++l) {
      const Lane& one = x_.lane[l];
      const double least = __builtin_sqrt(one.mu) > 1e-6 ? __builtin_sqrt(one.mu) : 1e-6;
      delta[l] = one.phase == Phase::estimating ? 1.0 : one.restoring ? least : one.floor;
      const bool known = one.last_delta > 0;
      first[l] = known ? (one.last_delta / 3 > 1e-12 ? one.last_delta / 3 : 1e-12) : x_.set.first_regularisation;
      factor[l] = known ? 8.0 : 100.0, needed[l] = false;
    }
    set_scales();
    while (true) {
      for (int l = 0; l < W; ++l) x_.lane[l].delta = delta[l];
      const Real good = riccati_.factorise(x_.slopes.hessian, x_.slopes, regularisation());
      bool again = false;
      for (int l = 0; l < W; ++l) {
        Lane& one = x_.lane[l];
        one.accepted = x_.at(good, l) > 0;  // of the inertia, until the search
        if (one.accepted || one.phase != Phase::running || !(delta[l] < x_.set.largest_regularisation)) continue;
        const double more = first[l] > 8 * delta[l] ? first[l] : 8 * delta[l];
        delta[l] = needed[l] ? delta[l] * factor[l] : more;
        needed[l] = again = true;
      }
      if (!again) break;
    }
    for (int l = 0; l < W; ++l)
      if (needed[l]) x_.lane[l].last_delta = delta[l];
    riccati_.factorise_end(x_.slopes);
  }
  Real regularisation() const {
    return x_.gathered([](const Lane& one) { return one.delta; });
  }

  // The step with the residuals of the point, how long it may be, and how long that of the multipliers.
  void find() {
    if (x_.anyone(Phase::estimating)) {  // all constraints are kept as they are
      const Real keep = has_barrier();
      const auto mask = [&](Real* rows, long count) {
        for (long i = 0; i < count; ++i) rows[i] = select(keep > Real(0), rows[i], Real(0));
      };
      mask(x_.wrong.defect, static_cast<long>(x_.p.steps) * x_.ns), mask(x_.wrong.initial, x_.ns);
      mask(x_.wrong.end, x_.r), mask(x_.wrong.path, (x_.p.steps + 1L) * x_.p.rows);
    }
    Real longest, longest_dual;
    solve(x_.wrong, x_.step, x_.dsigma, x_.dlambda, longest, longest_dual);
    for (int l = 0; l < W; ++l) {
      x_.lane[l].length = x_.at(longest, l);
      x_.lane[l].dual_length = x_.at(longest_dual, l);
    }
  }

  // The cost of a lane that estimates multipliers stays in the gradient, though not in the Hessian.
  Real gradient_stays() const {
    return x_.gathered([](const Lane& one) { return one.restoring && one.phase == Phase::running ? 0.0 : 1.0; });
  }

  // The step with these residuals.
  void solve(const Residuals<Real>& wrong, NewtonStep<Real>& step, Real* dsigma, Real* dlambda, Real& longest,
             Real& longest_dual) {
    x_.barrier.gradient(x_.slopes, x_.sigma, x_.lambda, x_.mu(), wrong.path, gradient_stays(), has_barrier(),
                        gradient_);
    riccati_.solve(x_.slopes.hessian, x_.slopes, regularisation(), gradient_, wrong, matters(), x_.scale, x_.unit_end,
                   step);
    x_.barrier.direction(x_.slopes, x_.sigma, x_.lambda, x_.mu(), wrong.path, step.d, dsigma, dlambda, longest,
                         longest_dual);
  }

  // Of the lanes that ask (saddle), which ones have negative curvature, and in x.step where it is: with delta just enough,
  // (H + delta D)^{-1} magnifies the directions of the most negative curvature in whatever it is given. The matrices are
  // condensed already.
  bool find_saddles() {
    set_scales();
    const auto some = [this] {
      for (int l = 0; l < W; ++l)
        if (x_.lane[l].saddle) return true;
      return false;
    };
    for (int l = 0; l < W; ++l) x_.lane[l].delta = flat;
    for (bool first = true, again = true; again; first = false) {
      const Real good = riccati_.factorise(x_.slopes.hessian, x_.slopes, regularisation());
      again = false;
      for (int l = 0; l < W; ++l) {
        Lane& one = x_.lane[l];
        const bool definite = x_.at(good, l) > 0;
        if (first && definite) one.saddle = false;
        if (!one.saddle || definite || one.delta >= x_.set.largest_regularisation) continue;
        one.delta *= 4;
        again = true;
      }
      if (!some()) return false;
    }
    riccati_.factorise_end(x_.slopes);
    const long nodes = x_.p.steps + 1L;
    fill(gradient_, Real(0), nodes * x_.row());
    for (long k = 0; k < nodes; ++k)
      for (int a = 0; a < (k < x_.p.steps ? x_.nz : x_.ns); ++a) {
        const double weight = x_.p.bound_weights[k * x_.nz + a] * __builtin_cos(static_cast<double>(k * x_.nz + a));
        gradient_[k * x_.row() + a] = Real(weight) / x_.scale[a];
      }
    const auto none = [](Real* rows, long count) { fill(rows, Real(0), count); };
    Residuals<Real>& zero = x_.trial_wrong;
    none(zero.defect, static_cast<long>(x_.p.steps) * x_.ns), none(zero.initial, x_.ns), none(zero.end, x_.r);
    none(zero.path, nodes * x_.p.rows);
    NewtonStep<Real>& step = x_.step;
    riccati_.solve(x_.slopes.hessian, x_.slopes, regularisation(), gradient_, zero, Real(__builtin_inf()), x_.scale,
                   x_.unit_end, step);
    Real size(0);
    for (long k = 0; k < nodes; ++k)
      for (int a = 0; a < (k < x_.p.steps ? x_.nz : x_.ns); ++a)
        size = x_.worse(size, abs(x_.barrier.component(step.d, static_cast<int>(k), a)) / x_.scale[a]);
    const Real factor = Real(State::pushed) / select(size > Real(0), size, Real(1));
    for (long i = 0; i < nodes * x_.ns; ++i) step.d.s[i] = step.d.s[i] * factor;
    for (long i = 0; i < static_cast<long>(x_.p.steps) * x_.nv; ++i) step.d.v[i] = step.d.v[i] * factor;
    Real longest, unused;
    x_.barrier.direction(x_.slopes, x_.sigma, x_.lambda, x_.mu(), zero.path, step.d, x_.dsigma, x_.dlambda, longest,
                         unused);
    for (int l = 0; l < W; ++l) x_.lane[l].length = x_.at(longest, l);
    return true;
  }

  // Along the nonlinear path of the step, in x.trial, with F and the cost of the steps in x.trial_values.
  void follow(Real alpha, bool fresh) {
    x_.steps.follow(
        x_.z, x_.step.d, alpha, fresh, x_.wrong.defect, [this](int k, int j, int a) { return riccati_.gain(k, j, a); },
        x_.trial, x_.trial_values);
  }

 private:
  // From where the derivative that a step leaves over matters; never where the point is far and the barrier high.
  Real matters() const {
    return x_.gathered([this](const Lane& one) {
      const bool far = one.dual > rough || one.primal > rough;
      return far && one.mu > rough ? __builtin_inf() : 1e-2 * x_.set.tolerance;
    });
  }

  static constexpr double rough = 1e-3;
  static constexpr double flat = 1e-6;  // curvature in the scaled variables that is none

  void set_scales() {
    for (int i = 0; i < x_.nz; ++i) riccati_.proximal[i] = Real(1) / (x_.scale[i] * x_.scale[i]);
    for (int i = 0; i < x_.r; ++i) riccati_.rho[i] = Real(x_.set.penalty) / (x_.unit_end[i] * x_.unit_end[i]);
    riccati_.relaxed =
        x_.gathered([](const Lane& one) { return one.restoring && one.phase == Phase::running ? 1.0 : 0.0; });
  }

  State& x_;
  NewtonRiccati<W> riccati_;
  Real* gradient_;
};

}  // namespace PMP_ISA
}  // namespace pontryagin
