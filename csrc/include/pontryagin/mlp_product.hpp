// Products of a layer with a block of lanes, in tiles that stay in registers.
//
// Rows of a block are W lanes wide and follow one another: x [rows][W].
#pragma once

#include "each.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// Rows of a tile of two registers each: as many accumulators as leave room for the operands.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int tile_rows = 8;
#else
constexpr int tile_rows = 6;
#endif

// f(Size<M>(), first) over tiles of M rows.
template <class F>
PMP_INLINE void by_tiles(int rows, F f) {
  int first = 0;
  for (; first + tile_rows <= rows; first += tile_rows) f(Size<tile_rows>(), first);
  if (rows - first >= 4) f(Size<4>(), first), first += 4;
  if (rows - first >= 2) f(Size<2>(), first), first += 2;
  if (rows - first >= 1) f(Size<1>(), first);
}

// y_m += sum_k a[m * next_row + k * next_term] x_k
template <class Real, int M, class T = typename Real::Scalar>
PMP_INLINE void accumulate(Array<Real, M>& y, const T* a, long next_row, long next_term, int terms, const T* x) {
  PMP_ROLLED
  for (int k = 0; k < terms; ++k, a += next_term, x += Real::width) {
    const Real xk = Real::load(x);
    each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { y[m] = fma(Real(a[m * next_row]), xk, y[m]); });
  }
}

// One register; the registers of a pack add up in it.
template <class Real>
using Lanes = Pack<typename Real::Scalar, Real::lanes>;

template <class Real>
PMP_INLINE Lanes<Real> fold(const Real& a) {
  Lanes<Real> sum;
  sum.v[0] = a.v[0];
  PMP_UNROLL
  for (int i = 1; i < Real::count; ++i) sum.v[0] = sum.v[0] + a.v[i];
  return sum;
}

// sum + a b over the registers
template <class Real>
PMP_INLINE Lanes<Real> dot(const Real& a, const Real& b, Lanes<Real> sum) {
  PMP_UNROLL
  for (int i = 0; i < Real::count; ++i) sum.v[0] = native::fma(a.v[i], b.v[i], sum.v[0]);
  return sum;
}

// g [rows][stride] += sum over lanes of a [rows][W] times b [W][stride]; columns are a multiple of the lanes of P.
template <int W, class P, class T>
PMP_INLINE void outer_columns(T* g, int stride, int rows, const T* a, const T* b) {
  by_tiles(rows, [&](auto size, int first) PMP_INLINE_LAMBDA {
    constexpr int M = decltype(size)();
    Array<P, M> sum;
    T* to = g + static_cast<long>(first) * stride;
    const T *left = a + first * W, *right = b;
    each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { sum[m] = P::load(to + m * static_cast<long>(stride)); });
    PMP_ROLLED
    for (int lane = 0; lane < W; ++lane, ++left, right += stride) {
      const P column = P::load(right);
      each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { sum[m] = fma(P(left[m * W]), column, sum[m]); });
    }
    each(Size<M>(), [&](auto m) PMP_INLINE_LAMBDA { sum[m].store(to + m * static_cast<long>(stride)); });
  });
}

template <int W, class T>
PMP_NOINLINE void outer_sum(T* g, int stride, int rows, const T* a, const T* b) {
  constexpr int lanes = native_lanes(sizeof(T), 1024);
  int column = 0;
  for (; column + 2 * lanes <= stride; column += 2 * lanes)
    outer_columns<W, Pack<T, 2 * lanes>>(g + column, stride, rows, a, b + column);
  if (column < stride) outer_columns<W, Pack<T, lanes>>(g + column, stride, rows, a, b + column);
}

}  // namespace PMP_ISA
}  // namespace pontryagin
