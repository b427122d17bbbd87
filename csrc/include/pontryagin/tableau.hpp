// An explicit Runge-Kutta tableau as data:  X_i = x + h sum_{j<i} a_ij f_j,  x+ = x + h sum_i b_i f_i,  t_i = t + c_i h.
#pragma once

namespace pontryagin {

constexpr int max_stages = 7;

struct Tableau {
  int stages = 0;
  double a[max_stages][max_stages] = {};
  double b[max_stages] = {};
  double c[max_stages] = {};
};

}  // namespace pontryagin
