// Memory of a tile, W problems side by side: rows of W numbers, handed out one array after the other.
#pragma once

#include "newton_problem.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Counts when it has no memory yet, so that the same code tells how much is needed.
class Arena {
 public:
  explicit Arena(void* memory) : memory_(static_cast<char*>(memory)) {}
  template <class T>
  T* take(long count) {
    T* const found = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
    used_ += (count * static_cast<long>(sizeof(T)) + 63) / 64 * 64;
    return found;
  }
  long used() const { return used_; }

 private:
  char* memory_;
  long used_ = 0;
};

// y += a x
template <class Real>
PMP_INLINE void add_multiple(Real a, const Real* x, Real* y, int count) {
  for (int i = 0; i < count; ++i) y[i] = fma(a, x[i], y[i]);
}

template <class Real>
PMP_INLINE void fill(Real* x, Real value, long count) {
  for (long i = 0; i < count; ++i) x[i] = value;
}

template <class Real>
PMP_INLINE void copy(const Real* from, Real* to, long count) {
  for (long i = 0; i < count; ++i) to[i] = from[i];
}

// Place of (i, j), i >= j, in a lower triangle by rows.
PMP_INLINE constexpr int place_of(int i, int j) { return i * (i + 1) / 2 + j; }
PMP_INLINE constexpr int triangle(int n) { return n * (n + 1) / 2; }
PMP_INLINE int place_of_any(int i, int j) { return i >= j ? place_of(i, j) : place_of(j, i); }

// The unknowns of W problems.
template <class Real>
struct Unknowns {
  Real *s = nullptr, *v = nullptr;  // [N+1][ns], [N][nv]
  void take(Arena& arena, const NewtonProblem& p) {
    s = arena.take<Real>((p.steps + 1L) * p.ns), v = arena.take<Real>(static_cast<long>(p.steps) * p.nv);
  }
};

// F, c, psi and J of a point; below x the states just move on.
template <class Real>
struct PointValues {
  Real *next = nullptr, *path = nullptr, *end = nullptr;  // [N][n], [N+1][rows], [r]
  Real cost;
  void take(Arena& arena, const NewtonProblem& p) {
    next = arena.take<Real>(static_cast<long>(p.steps) * p.n);
    path = arena.take<Real>((p.steps + 1L) * p.rows), end = arena.take<Real>(p.equalities);
  }
};

// F_x without the rows of what moves on, J_z, the Hessian of the Lagrangian, c_z, psi_s.
template <class Real>
struct PointSlopes {
  Real *jacobian = nullptr, *gradient = nullptr, *hessian = nullptr, *path = nullptr, *end = nullptr;
  void take(Arena& arena, const NewtonProblem& p) {
    jacobian = arena.take<Real>(static_cast<long>(p.steps) * p.n * p.nz);
    gradient = arena.take<Real>((p.steps + 1L) * p.nz);
    hessian = arena.take<Real>((p.steps + 1L) * triangle(p.nz));
    path = arena.take<Real>((p.steps + 1L) * p.rows * p.nz), end = arena.take<Real>(static_cast<long>(p.equalities) * p.ns);
  }
};

// The same numbers of all residuals, of a point or as they are given to a step.
template <class Real>
struct Residuals {
  Real *defect = nullptr, *initial = nullptr, *path = nullptr, *end = nullptr;  // [N][ns], [ns], [N+1][rows], [r]
  void take(Arena& arena, const NewtonProblem& p) {
    defect = arena.take<Real>(static_cast<long>(p.steps) * p.ns), initial = arena.take<Real>(p.ns);
    path = arena.take<Real>((p.steps + 1L) * p.rows), end = arena.take<Real>(p.equalities);
  }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
