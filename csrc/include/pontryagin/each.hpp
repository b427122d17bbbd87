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

// 0 .. n-1 as a list of numbers that can be expanded.
template <int... i>
struct Indices {};
template <int n, int... i>
struct UpTo : UpTo<n - 1, n - 1, i...> {};
template <int... i>
struct UpTo<0, i...> {
  using type = Indices<i...>;
};

namespace unrolled {
template <int first, class F, int... i>
PMP_INLINE void up(F& f, Indices<i...>) {
  (f(Size<first + i>()), ...);
}
template <int last, class F, int... i>
PMP_INLINE void down(F& f, Indices<i...>) {
  (f(Size<last - i>()), ...);
}
}  // namespace unrolled

#if PMP_CUDA  // whose compilers unroll a loop as completely when they are told to, in half the time
template <int n, class F>
PMP_INLINE void each(Size<n>, F f) {
  PMP_UNROLL
  for (int i = 0; i < n; ++i) f(i);
}
template <int n, class F>
PMP_INLINE void each_reversed(Size<n>, F f) {
  PMP_UNROLL
  for (int i = n; i-- > 0;) f(i);
}
#else
template <int n, class F>
PMP_INLINE void each(Size<n>, F f) {
  unrolled::up<0>(f, typename UpTo<n>::type());
}
template <int n, class F>
PMP_INLINE void each_reversed(Size<n>, F f) {
  unrolled::down<n - 1>(f, typename UpTo<n>::type());
}
#endif

template <class F>
PMP_INLINE void each(int n, F f) {
  for (int i = 0; i < n; ++i) f(i);
}
template <class F>
PMP_INLINE void each_reversed(int n, F f) {
  for (int i = n; i-- > 0;) f(i);
}

template <int i, int n, class F>
PMP_INLINE void each_after(Size<i>, Size<n>, F f) {
  unrolled::up<i + 1>(f, typename UpTo<n - i - 1>::type());
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
