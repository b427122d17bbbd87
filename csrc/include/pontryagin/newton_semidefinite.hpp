// The pseudo-inverse of small positive semidefinite matrices, one for each lane, by Jacobi's rotations (1846).
#pragma once

#include "newton_problem.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

constexpr int most_end_equalities = PMP_MOST_END_EQUALITIES;

// Eigenvalues on the diagonal of a (n x n), eigenvectors in columns.
inline void rotate_to_diagonal(double* a, double* vectors, int n) {
  for (int i = 0; i < n * n; ++i) vectors[i] = i % (n + 1) == 0 ? 1 : 0;
  for (int sweep = 0; sweep < 30; ++sweep) {
    double off = 0;
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < i; ++j) off += a[i * n + j] * a[i * n + j];
    if (off < 1e-34) return;
    for (int i = 1; i < n; ++i)
      for (int j = 0; j < i; ++j) {
        const double between = a[i * n + j];
        if (between == 0) continue;
        const double tau = (a[i * n + i] - a[j * n + j]) / (2 * between);
        const double t = (tau >= 0 ? 1 : -1) / ((tau >= 0 ? tau : -tau) + __builtin_sqrt(1 + tau * tau));
        const double c = 1 / __builtin_sqrt(1 + t * t), s = t * c;
        const auto turn = [&](double& x, double& y) {
          const double was = x;
          x = c * was - s * y, y = s * was + c * y;
        };
        for (int l = 0; l < n; ++l) turn(a[l * n + j], a[l * n + i]);
        for (int l = 0; l < n; ++l) turn(a[j * n + l], a[i * n + l]);
        for (int l = 0; l < n; ++l) turn(vectors[l * n + j], vectors[l * n + i]);
      }
  }
}

// Of the matrix (n x n) whose lower triangle is given, in its place, scaled to a unit diagonal; without directions whose
// eigenvalue is below `least`.
template <class Real>
void invert_semidefinite(Real* matrix, int n, double least) {
  double a[most_end_equalities * most_end_equalities], vectors[most_end_equalities * most_end_equalities];
  double scale[most_end_equalities];
  const auto entry = [&](int i, int j, int lane) -> double& {
    return reinterpret_cast<double*>(&matrix[i * n + j])[lane];
  };
  for (int lane = 0; lane < Real::width; ++lane) {
    bool finite = true;
    for (int i = 0; i < n; ++i) scale[i] = entry(i, i, lane) > 0 ? 1 / __builtin_sqrt(entry(i, i, lane)) : 1;
    for (int i = 0; i < n; ++i)
      for (int j = 0; j <= i; ++j) {
        const double scaled = entry(i, j, lane) * scale[i] * scale[j];
        finite = finite && scaled - scaled == 0;
        a[i * n + j] = a[j * n + i] = scaled;
      }
    if (finite) rotate_to_diagonal(a, vectors, n);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        double sum = 0;
        for (int l = 0; finite && l < n; ++l)
          if (a[l * n + l] > least) sum += vectors[i * n + l] * vectors[j * n + l] / a[l * n + l];
        entry(i, j, lane) = sum * scale[i] * scale[j];
      }
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
