// Loops over components and stages whose bounds are either numbers or types. A Size<n> leaves no loop: the body is there
// n times, every index is a constant from the first pass of the compiler on, and arrays turn into registers. With an int
// it is the plain loop. So one text of the recursion serves straight-line code, rolled code and recordings.
//
//     each(n, f)            i = 0 .. n-1
//     each_reversed(n, f)   i = n-1 .. 0
//     each_after(i, n, f)   l = i+1 .. n-1
#pragma once

#include "macros.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <int n>
struct Size {
  PMP_HD constexpr operator int() const { return n; }
};

namespace unrolled {
template <int i, int end, class F>
PMP_INLINE void up(F& f) {
  if constexpr (i < end) {
    f(Size<i>());
    up<i + 1, end>(f);
  }
}
template <int i, class F>
PMP_INLINE void down(F& f) {
  if constexpr (i > 0) {
    f(Size<i - 1>());
    down<i - 1>(f);
  }
}
}  // namespace unrolled

template <int n, class F>
PMP_INLINE void each(Size<n>, F f) {
  unrolled::up<0, n>(f);
}
template <class F>
PMP_INLINE void each(int n, F f) {
  for (int i = 0; i < n; ++i) f(i);
}

template <int n, class F>
PMP_INLINE void each_reversed(Size<n>, F f) {
  unrolled::down<n>(f);
}
template <class F>
PMP_INLINE void each_reversed(int n, F f) {
  for (int i = n; i-- > 0;) f(i);
}

template <int i, int n, class F>
PMP_INLINE void each_after(Size<i>, Size<n>, F f) {
  unrolled::up<i + 1, n>(f);
}
template <class F>
PMP_INLINE void each_after(int i, int n, F f) {
  for (int l = i + 1; l < n; ++l) f(l);
}

// n values of one type; an array of none still has a size.
template <class Real, int n>
struct Array {
  Real v[n > 0 ? n : 1];
  PMP_INLINE Real& operator[](int i) { return v[i]; }
  PMP_INLINE const Real& operator[](int i) const { return v[i]; }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
