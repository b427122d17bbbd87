// Memory of a tile, W problems side by side: rows of W numbers, handed out one array after the other.
//
// Where PMP_THREAD_TILES is set, a tile is one thread's, and its numbers lie between those of its neighbours
// (device_columns.hpp).
#pragma once

#include "newton_problem.hpp"
#include "pack.hpp"

#ifndef PMP_THREAD_TILES
#define PMP_THREAD_TILES 0
#endif
#if PMP_THREAD_TILES
#include "device_columns.hpp"
#endif

namespace pontryagin {
inline namespace PMP_ISA {

#if !PMP_THREAD_TILES
// What a tile computes with.
template <int W>
using TileReal = Pack<double, W>;

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
#endif

// Lanes of an evaluation by a tile of W problems: one problem alone fills a register with steps of its own.
template <int W>
constexpr int lanes_of_points = W == 1 && !PMP_CUDA && !PMP_THREAD_TILES ? newton_lanes : W;

// Rows of matrices. One problem alone has its components side by side: its rows are filled up to whole registers, so that
// they are what steps together, and symmetric matrices are whole. With more lanes a row is as long as it has to be, and of
// a symmetric matrix there is the lower triangle.
template <int W>
struct RowsOf {
  static constexpr bool whole = W == 1 && !PMP_CUDA && !PMP_THREAD_TILES;
  static PMP_INLINE constexpr int padded(int n) { return whole ? (n + 3) / 4 * 4 : n; }
  // Of a symmetric matrix of n rows: where row i begins, how long it is, and the numbers of all.
  static PMP_INLINE constexpr int first(int n, int i) { return whole ? i * padded(n) : i * (i + 1) / 2; }
  static PMP_INLINE constexpr int length(int n, int i) { return whole ? padded(n) : i + 1; }
  static PMP_INLINE constexpr int all(int n) { return whole ? n * padded(n) : n * (n + 1) / 2; }
};

// y += a x, over a row.
template <class Real>
PMP_INLINE void add_multiple(Real a, const Real* x, Real* y, int count) {
#if !PMP_CUDA
  if constexpr (RowsOf<Real::width>::whole) {
    using Four = Pack<double, 4>;
    const Four factor(*reinterpret_cast<const double*>(&a));
    const double* from = reinterpret_cast<const double*>(x);
    double* to = reinterpret_cast<double*>(y);
    for (int i = 0; i < count; i += 4) fma(factor, Four::load(from + i), Four::load(to + i)).store(to + i);
    return;
  }
#endif
  for (int i = 0; i < count; ++i) y[i] = fma(a, x[i], y[i]);
}

// to = from + sum_j a(j) x(j), over a row, with sums in registers and terms in order; `from` may be nothing.
template <class Real, class Factor, class Row>
PMP_INLINE void add_products(int terms, Factor a, Row x, const Real* from, Real* to, int count) {
#if !PMP_CUDA
  if constexpr (RowsOf<Real::width>::whole) {
    using Four = Pack<double, 4>;
    const auto numbers = [](const Real* row) { return reinterpret_cast<const double*>(row); };
    for (int c = 0; c < count; c += 4) {
      Four sum = from ? Four::load(numbers(from) + c) : Four(0.0);
      for (int j = 0; j < terms; ++j) {
        const Real factor = a(j);
        sum = fma(Four(*numbers(&factor)), Four::load(numbers(x(j)) + c), sum);
      }
      sum.store(reinterpret_cast<double*>(to) + c);
    }
    return;
  }
#endif
  int c = 0;
  PMP_DEVICE_ROLLED
  for (; c + 2 <= count; c += 2) {
    Real one = from ? from[c] : Real(0), two = from ? from[c + 1] : Real(0);
    for (int j = 0; j < terms; ++j) {
      const Real factor = a(j);
      const Real* row = x(j) + c;
      one = fma(factor, row[0], one), two = fma(factor, row[1], two);
    }
    to[c] = one, to[c + 1] = two;
  }
  if (c == count) return;
  Real sum = from ? from[c] : Real(0);
  PMP_DEVICE_ROLLED
  for (int j = 0; j < terms; ++j) sum = fma(a(j), x(j)[c], sum);
  to[c] = sum;
}

template <class Real>
PMP_INLINE void fill(Real* x, Real value, long count) {
  for (long i = 0; i < count; ++i) x[i] = value;
}

template <class Real>
PMP_INLINE void copy(const Real* from, Real* to, long count) {
  for (long i = 0; i < count; ++i) to[i] = from[i];
}

// Place of (i, j), i >= j, in a lower triangle by rows: of factors.
PMP_INLINE constexpr int place_of(int i, int j) { return i * (i + 1) / 2 + j; }
PMP_INLINE constexpr int triangle(int n) { return n * (n + 1) / 2; }

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

// F_z without the rows of what moves on, J_z, the Hessian of the Lagrangian, c_z, psi_s.
template <class Real>
struct PointSlopes {
  Real *jacobian = nullptr, *gradient = nullptr, *hessian = nullptr, *path = nullptr, *end = nullptr;
  void take(Arena& arena, const NewtonProblem& p) {
    using Lay = RowsOf<Real::width>;
    const long nz = Lay::padded(p.nz), nodes = p.steps + 1L;
    jacobian = arena.take<Real>(p.steps * p.n * nz), gradient = arena.take<Real>(nodes * nz);
    hessian = arena.take<Real>(nodes * Lay::all(p.nz)), path = arena.take<Real>(nodes * p.rows * nz);
    end = arena.take<Real>(p.equalities * static_cast<long>(Lay::padded(p.ns)));
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

// A step, or where it leads: p and nu are whole and no changes.
template <class Real>
struct NewtonStep {
  Unknowns<Real> d;
  Real *costate = nullptr, *end = nullptr;  // [N+1][ns], [r]
  void take(Arena& arena, const NewtonProblem& p) {
    d.take(arena, p);
    costate = arena.take<Real>((p.steps + 1L) * p.ns), end = arena.take<Real>(p.equalities);
  }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
