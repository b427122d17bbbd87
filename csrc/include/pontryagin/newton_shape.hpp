// Sizes of a problem as types: Size<n> where the compiler knows them, int where they are read from the problem. With the
// first, loops over components unroll and small arrays turn into registers; one text serves both (each.hpp).
#pragma once

#include "each.hpp"
#include "newton_problem.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Any problem.
struct AnyShape {
  using States = int;      // n
  using Controls = int;    // m
  using Carried = int;     // ns
  using Unknowns = int;    // nz
  using Equalities = int;  // r
  using Rows = int;        // of c
};

// A size of a shape from the number that the problem has.
template <class S>
struct SizeOf {
  static PMP_INLINE S of(int) { return S(); }
};
template <>
struct SizeOf<int> {
  static PMP_INLINE int of(int n) { return n; }
};

// Those of a shape, and what follows from them.
template <class Shape>
struct Sizes {
  typename Shape::States n;
  typename Shape::Controls m;
  typename Shape::Carried ns;
  typename Shape::Unknowns nz;
  typename Shape::Equalities r;
  typename Shape::Rows rows;
  explicit Sizes(const NewtonProblem& p)
      : n(SizeOf<typename Shape::States>::of(p.n)),
        m(SizeOf<typename Shape::Controls>::of(p.m)),
        ns(SizeOf<typename Shape::Carried>::of(p.ns)),
        nz(SizeOf<typename Shape::Unknowns>::of(p.nz)),
        r(SizeOf<typename Shape::Equalities>::of(p.equalities)),
        rows(SizeOf<typename Shape::Rows>::of(p.rows)) {}
};

}  // namespace PMP_ISA
}  // namespace pontryagin
