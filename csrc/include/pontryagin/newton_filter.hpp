// The filter of one problem (pontryagin/optim/newton/search.py): pairs (theta, phi), none of which another one dominates.
#pragma once

#include "macros.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

struct Merit {
  double theta, phi;
};

class NewtonFilter {
 public:
  NewtonFilter() {}  // without pairs
  NewtonFilter(const NewtonFilter& other) { *this = other; }
  NewtonFilter& operator=(const NewtonFilter& other) {
    largest_ = other.largest_, small_ = other.small_, patience_ = other.patience_, count_ = other.count_;
    for (int i = 0; i < count_; ++i) pair_[i] = other.pair_[i];
    return *this;
  }

  static constexpr double margin_theta = 1e-5, margin_phi = 1e-8, armijo = 1e-8;
  static constexpr double largest = 10, small = 1e-4;  // relative to max(1, theta) at the start
  static constexpr int patience = 8;
  static constexpr double rounding = 10 * 2.220446049250313e-16;

  void begin(double theta) {
    const double unit = theta > 1 ? theta : 1;
    largest_ = largest * unit, small_ = small * unit, patience_ = patience, count_ = 0;
  }
  void empty() { count_ = 0; }

  bool accepts(Merit trial) const {
    if (!(trial.theta - trial.theta == 0) || !(trial.phi - trial.phi == 0)) return false;
    if (!(trial.theta < largest_)) return false;
    for (int i = 0; i < count_; ++i)
      if (!(trial.theta < pair_[i].theta || trial.phi < pair_[i].phi)) return false;
    return true;
  }

  // A pair that another one dominates tells nothing more.
  void join(Merit at) {
    const Merit pair{(1 - margin_theta) * at.theta, at.phi - margin_phi * at.theta};
    int kept = 0;
    for (int i = 0; i < count_; ++i) {
      if (pair_[i].theta <= pair.theta && pair_[i].phi <= pair.phi) return;
      if (!(pair.theta <= pair_[i].theta && pair.phi <= pair_[i].phi)) pair_[kept++] = pair_[i];
    }
    count_ = kept;
    if (count_ == most) {  // the oldest goes
      for (int i = 1; i < count_; ++i) pair_[i - 1] = pair_[i];
      --count_;
    }
    pair_[count_++] = pair;
  }

  // Whether to accept a trial of length alpha from `at`, where phi has this slope; `joins` if `at` joins the filter then.
  bool verdict(Merit at, double slope, double alpha, Merit trial, bool& joins) const {
    const double descent = slope < 0 ? -slope : 0;
    const bool switched = slope < 0 && at.theta <= small_ && alpha * power_slope(descent) > power_theta(at.theta);
    const double slack = rounding * (at.phi < 0 ? -at.phi : at.phi);
    const bool lower = trial.phi - at.phi - slack <= armijo * alpha * slope;
    const bool better =
        trial.theta <= (1 - margin_theta) * at.theta || trial.phi - slack <= at.phi - margin_phi * at.theta;
    joins = !(switched && lower);
    return accepts(trial) && (switched ? lower : better);
  }

  // Whether a trial that is refused is taken all the same; there are only so many of them.
  bool ventures(Merit at, Merit trial) {
    const bool finite = trial.theta - trial.theta == 0 && trial.phi - trial.phi == 0;
    const bool does = patience_ > 0 && finite && at.theta > small_ && trial.theta < largest_;
    patience_ -= does ? 1 : 0;
    return does;
  }

  // Below this length no trial can be accepted.
  double shortest(Merit at, double slope) const {
    double bound = margin_theta;
    if (slope < 0) {
      const double by_phi = margin_phi * at.theta / -slope;
      if (by_phi < bound) bound = by_phi;
      if (at.theta <= small_) {
        const double by_switch = power_theta(at.theta) / power_slope(-slope);
        if (by_switch < bound) bound = by_switch;
      }
    }
    bound *= 0.05;
    return bound > 1e-12 ? bound : 1e-12;
  }

 private:
  static double power_slope(double x) { return __builtin_pow(x, 2.3); }
  static double power_theta(double x) { return __builtin_pow(x, 1.1); }

  static constexpr int most = 256;
  double largest_ = 0, small_ = 0;
  int patience_ = 0, count_ = 0;
  Merit pair_[most];
};

}  // namespace PMP_ISA
}  // namespace pontryagin
