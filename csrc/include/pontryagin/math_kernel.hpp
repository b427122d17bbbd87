// What the functions of math_*.hpp are made of: bits, polynomials, exact products, rare lanes.
#pragma once

#include "pack.hpp"

#if !PMP_CUDA

namespace pontryagin {
inline namespace PMP_ISA {
namespace kernel {

template <class P>
PMP_INLINE typename P::Bits as_bits(P x) {
  typename P::Bits r;
  PMP_UNROLL
  for (int i = 0; i < P::count; ++i) r.v[i] = native::bit_cast<typename P::Bits::Vector>(x.v[i]);
  return r;
}
template <class P>
PMP_INLINE P from_bits(typename P::Bits x) {
  P r;
  PMP_UNROLL
  for (int i = 0; i < P::count; ++i) r.v[i] = native::bit_cast<typename P::Vector>(x.v[i]);
  return r;
}

template <class To, class From, int W>
PMP_INLINE Pack<To, W> convert(Pack<From, W> x) {
  using P = Pack<To, W>;
  using Q = Pack<From, W>;
  P r;
  if constexpr (W == 1) {
    r.v[0] = To(x.v[0]);
  } else {
    constexpr int lanes = P::lanes < Q::lanes ? P::lanes : Q::lanes;
    typedef To ToVector __attribute__((vector_size(lanes * sizeof(To))));
    typedef From FromVector __attribute__((vector_size(lanes * sizeof(From))));
    PMP_UNROLL
    for (int i = 0; i < W / lanes; ++i) {
      FromVector piece;
      __builtin_memcpy(&piece, reinterpret_cast<const char*>(&x) + i * sizeof(piece), sizeof(piece));
      const ToVector converted = __builtin_convertvector(piece, ToVector);
      __builtin_memcpy(reinterpret_cast<char*>(&r) + i * sizeof(converted), &converted, sizeof(converted));
    }
  }
  return r;
}

template <class T>
struct Format;
template <>
struct Format<double> {
  static constexpr int mantissa = 52;
  static constexpr UInt64 sign = 1ull << 63;
  static constexpr UInt64 one = 1023ull << 52;
  // Adding `magic` rounds to an integer, half to even, and leaves it in the lowest bits; `splitter` halves a mantissa.
  static constexpr double magic = 0x1.8p52, splitter = 0x1p27 + 1, smallest = 0x1p-1022,
                          largest = 0x1.fffffffffffffp1023;
};
template <>
struct Format<float> {
  static constexpr int mantissa = 23;
  static constexpr UInt32 sign = 1u << 31;
  static constexpr UInt32 one = 127u << 23;
  static constexpr float magic = 0x1.8p23f, splitter = 0x1p12f + 1, smallest = 0x1p-126f, largest = 0x1.fffffep127f;
};

// c_0 + c_1 x + ..., in Estrin's order: a tree, so that one lane alone does not wait for one long chain.
constexpr int power_below(int n) {
  int p = 1;
  while (2 * p < n) p *= 2;
  return p;
}
template <int level, class P>
PMP_INLINE P repeated_square(P x) {
  if constexpr (level == 1) {
    return x;
  } else {
    const P root = repeated_square<level / 2>(x);
    return root * root;
  }
}
template <int first, int n, class P, class T>
PMP_INLINE P estrin(P x, const T* c) {
  if constexpr (n == 1) {
    return P(c[first]);
  } else {
    constexpr int low = power_below(n);
    return fma(repeated_square<low>(x), estrin<first + low, n - low>(x, c), estrin<first, low>(x, c));
  }
}
template <class P, class T, int n>
PMP_INLINE P polynomial(P x, const T (&c)[n]) {
  return estrin<0, n>(x, c);
}

// The same for a few terms with x^2 at hand: pairs, one after the other from the last, so that few values are alive.
template <int first = 0, class P, class T, int n>
PMP_INLINE P by_pairs(P x, P xx, const T (&c)[n]) {
  if constexpr (first + 2 < n) {
    const P rest = by_pairs<first + 2>(x, xx, c);
    return fma(xx, rest, fma(P(c[first + 1]), x, P(c[first])));
  } else if constexpr (first + 2 == n) {
    return fma(P(c[first + 1]), x, P(c[first]));
  } else {
    return P(c[first]);
  }
}

// a b - p for p = a b rounded: exact (Dekker 1971 where there is no fused multiply-add; then a and b below
// 2^-28 of the largest number).
template <class P>
PMP_INLINE P product_error(P a, P b, P p) {
#if PMP_FMA
  return fms(a, b, p);
#else
  const P splitter(Format<typename P::Scalar>::splitter);
  const P as = a * splitter, bs = b * splitter;
  const P ah = as - (as - a), bh = bs - (bs - b);
  const P al = a - ah, bl = b - bh;
  return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
#endif
}

// (n + n_low) / (d + d_low), rounded about once: the quotient of the heads is mended with its remainder.
template <class P>
PMP_INLINE P divide_twofold(P n, P n_low, P d, P d_low) {
  const P inverse = P(1) / d;
  const P q = n * inverse, p = q * d;
  const P remainder = ((n - p) - product_error(q, d, p)) + n_low;
  return fma(fnma(q, d_low, remainder), inverse, q);
}

// Lanes a function works on at a time: two registers keep the pipelines busy and leave room for intermediate values.
template <class P>
constexpr int part_count = P::count > 2 ? 2 : P::count;

template <class P>
using Part = Pack<typename P::Scalar, part_count<P> * P::lanes>;

template <class P>
PMP_INLINE Part<P> part(const P& x, int first) {
  Part<P> r;
  PMP_UNROLL
  for (int i = 0; i < part_count<P>; ++i) r.v[i] = x.v[first + i];
  return r;
}
template <class P>
PMP_INLINE void put_part(P& x, int first, Part<P> value) {
  PMP_UNROLL
  for (int i = 0; i < part_count<P>; ++i) x.v[first + i] = value.v[i];
}

// f(first) for the first register of every part; more than two parts are a loop, which keeps the code short.
template <class P, class F>
PMP_INLINE void each_part(F f) {
  if constexpr (P::count <= 2 * part_count<P>) {
    f(0);
    if constexpr (P::count > part_count<P>) f(part_count<P>);
  } else {
    PMP_ROLLED
    for (int i = 0; i < P::count; i += part_count<P>) f(i);
  }
}
template <class P, class F>
PMP_INLINE P by_parts(P x, F f) {
  P r;
  each_part<P>([&](int i) PMP_INLINE_LAMBDA { put_part(r, i, f(part(x, i))); });
  return r;
}
template <class P, class F>
PMP_INLINE P by_parts(P x, P y, F f) {
  P r;
  each_part<P>([&](int i) PMP_INLINE_LAMBDA { put_part(r, i, f(part(x, i), part(y, i))); });
  return r;
}

// Rare lanes go to the C library one by one: whether a lane is rare is decided by that lane alone.
template <class T>
PMP_NOINLINE void patch_lanes(const T* rare, const T* x, T* r, int n, T (*f)(T)) {
  for (int i = 0; i < n; ++i)
    if (rare[i] != 0) r[i] = f(x[i]);
}
template <class T>
PMP_NOINLINE void patch_lanes(const T* rare, const T* x, const T* y, T* r, int n, T (*f)(T, T)) {
  for (int i = 0; i < n; ++i)
    if (rare[i] != 0) r[i] = f(x[i], y[i]);
}

template <class P, class T = typename P::Scalar>
PMP_INLINE P patch(typename P::Mask rare, P x, P r, T (*f)(T)) {
  if constexpr (P::width == 1) {
    return PMP_UNLIKELY(rare.v[0]) ? P(f(x.v[0])) : r;
  } else {
    if (PMP_UNLIKELY(any(rare))) {
      alignas(64) T rares[P::width], xs[P::width], rs[P::width];
      select(rare, P(1), P(0)).store(rares);
      x.store(xs);
      r.store(rs);
      patch_lanes(rares, xs, rs, P::width, f);
      r = P::load(rs);
    }
    return r;
  }
}
template <class P, class T = typename P::Scalar>
PMP_INLINE P patch(typename P::Mask rare, P x, P y, P r, T (*f)(T, T)) {
  if constexpr (P::width == 1) {
    return PMP_UNLIKELY(rare.v[0]) ? P(f(x.v[0], y.v[0])) : r;
  } else {
    if (PMP_UNLIKELY(any(rare))) {
      alignas(64) T rares[P::width], xs[P::width], ys[P::width], rs[P::width];
      select(rare, P(1), P(0)).store(rares);
      x.store(xs);
      y.store(ys);
      r.store(rs);
      patch_lanes(rares, xs, ys, rs, P::width, f);
      r = P::load(rs);
    }
    return r;
  }
}

}  // namespace kernel
}  // namespace PMP_ISA
}  // namespace pontryagin

#endif
