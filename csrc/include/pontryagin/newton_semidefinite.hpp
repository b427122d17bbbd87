// Small positive semidefinite matrices, one for each lane: their factors, and their pseudo-inverse by Jacobi's rotations
// (1846) where it is not the inverse.
#pragma once

#include "newton_memory.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

constexpr int most_end_equalities = PMP_MOST_END_EQUALITIES;

// L L' = a in place, lower triangles by rows, with reciprocals on the diagonal; one where it is positive definite, else zero
// and some factor.
template <class Real>
PMP_DEVICE_CALL Real cholesky(Real* a, int n) {
  Real good(1);
  for (int j = 0; j < n; ++j) {
    const Real diagonal = a[place_of(j, j)];
    Real pivot = diagonal;
    for (int l = 0; l < j; ++l) pivot = fnma(a[place_of(j, l)], a[place_of(j, l)], pivot);
    const auto fine = (diagonal > Real(0)) & (pivot > Real(definite_pivot) * diagonal) & (pivot < Real(1e300));
    good = select(fine, good, Real(0));
    pivot = select(fine, pivot, Real(1));
    const Real inverse = Real(1) / sqrt(pivot);
    a[place_of(j, j)] = inverse;
    for (int i = j + 1; i < n; ++i) {
      Real sum = a[place_of(i, j)];
      for (int l = 0; l < j; ++l) sum = fnma(a[place_of(i, l)], a[place_of(j, l)], sum);
      a[place_of(i, j)] = sum * inverse;
    }
  }
  return good;
}

// The inverse of a matrix scaled to a unit diagonal (lower triangles) in its place; one where it shows that all eigenvalues
// are well above `least`, else zero and some numbers.
template <class Real>
PMP_DEVICE_CALL Real invert_definite(Real* a, int n, double least) {
  const Real good = cholesky(a, n);
  for (int i = 0; i < n; ++i)  // L^{-1}
    for (int j = 0; j < i; ++j) {
      Real sum(0);
      for (int l = j; l < i; ++l) sum = fma(a[place_of(i, l)], a[place_of(l, j)], sum);
      a[place_of(i, j)] = -(sum * a[place_of(i, i)]);
    }
  Real square(0);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j <= i; ++j) {
      Real sum(0);
      for (int l = i; l < n; ++l) sum = fma(a[place_of(l, i)], a[place_of(l, j)], sum);
      a[place_of(i, j)] = sum;
      square = fma(Real(i == j ? 1.0 : 2.0) * sum, sum, square);
    }
  return select(square < Real(1e-4 / (least * least)), good, Real(0));
}

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

// The pseudo-inverse by eigenvalues, of the lanes where `known` is zero.
template <class Real>
void invert_by_eigenvalues(Real* matrix, int n, double least, Real known) {
  double a[most_end_equalities * most_end_equalities], vectors[most_end_equalities * most_end_equalities];
  double scale[most_end_equalities];
  const auto entry = [&](int i, int j, int lane) -> double& {
    return reinterpret_cast<double*>(&matrix[i * n + j])[lane];
  };
  for (int lane = 0; lane < Real::width; ++lane) {
    if (reinterpret_cast<const double*>(&known)[lane] > 0) continue;
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

// Of the matrix (n x n) whose lower triangle is given, in its place, scaled to a unit diagonal; without directions whose
// eigenvalue is below `least`. room: [n (n + 1) / 2], unit: [n]
template <class Real>
void invert_semidefinite(Real* matrix, int n, double least, Real* room, Real* unit) {
  for (int i = 0; i < n; ++i) {
    const Real diagonal = matrix[i * n + i];
    const auto some = diagonal > Real(0);
    unit[i] = select(some, Real(1) / sqrt(select(some, diagonal, Real(1))), Real(1));
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j <= i; ++j) room[place_of(i, j)] = matrix[i * n + j] * unit[i] * unit[j];
  const Real good = n == 1 ? Real(0) : invert_definite(room, n, least);  // of a number there is nothing to rotate
  if (!all(good > Real(0))) invert_by_eigenvalues(matrix, n, least, good);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j <= i; ++j) {
      const Real found = room[place_of(i, j)] * unit[i] * unit[j];
      matrix[i * n + j] = select(good > Real(0), found, matrix[i * n + j]);
      matrix[j * n + i] = select(good > Real(0), found, matrix[j * n + i]);
    }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
