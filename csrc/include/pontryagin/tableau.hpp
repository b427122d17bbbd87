// An explicit Runge-Kutta tableau as data:  X_i = x + h sum_{j<i} a_ij f_j,  x+ = x + h sum_i b_i f_i,  t_i = t + c_i h.
#pragma once

#include "each.hpp"

namespace pontryagin {

constexpr int max_stages = 7;

struct Tableau {
  int stages = 0;
  double a[max_stages][max_stages] = {};
  double b[max_stages] = {};
  double c[max_stages] = {};
  PMP_HD int count() const { return stages; }
};

// A tableau whose number of stages the compiler knows: a step over it has no loop over stages.
template <int s>
struct UnrolledTableau : Tableau {
  PMP_HD constexpr UnrolledTableau(const Tableau& tableau) : Tableau(tableau) {}
  PMP_HD constexpr Size<s> count() const { return {}; }
};

}  // namespace pontryagin
