// log, log1p.
#pragma once

#include "math_exponential.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

#if !PMP_CUDA

namespace kernel {

// x = 2^k m with sqrt(1/2) <= m < sqrt(2), for positive normal x.
template <class P>
PMP_INLINE P split_exponent(P x, P& k) {
  using T = typename P::Scalar;
  using F = Format<T>;
  using Bits = typename P::Bits;
  const Bits root = as_bits(P(T(0x1.6a09e667f3bcdp-1)));
  const Bits shifted = as_bits(x) + (Bits(F::one) - root);
  // The biased exponent, as the last bits of a large number.
  constexpr T large = T(typename BitsOfSize<int(sizeof(T))>::type(1) << F::mantissa);
  const P biased = from_bits<P>((shifted >> F::mantissa) | as_bits(P(large)));
  k = biased - P(large + T(F::one >> F::mantissa));
  const Bits fraction = (Bits(1) << F::mantissa) - Bits(1);
  return from_bits<P>((shifted & fraction) + root);
}

// log x + tail for positive normal x, where the tail is tiny beside log x or beside its rounding. With f = m - 1 and
// s = f/(2 + f), log m = f - f^2/2 + s (f^2/2 + s^2 L(s^2)) (fdlibm, Sun 1993), L minimax.
template <int W>
PMP_INLINE Pack<double, W> log_normal(Pack<double, W> x, Pack<double, W> tail) {
  using P = Pack<double, W>;
  constexpr double coefficients[] = {6.66666666666673402e-01, 3.99999999994146760e-01, 2.85714287423877888e-01,
                                     2.22221985731662991e-01, 1.81835643271627684e-01, 1.53140505223103213e-01,
                                     1.47959500364669067e-01};
  P k;
  const P f = split_exponent(x, k) - P(1);
  const P s = f / (f + P(2)), z = s * s, half_square = P(0.5) * f * f;
  const P series = z * polynomial(z, coefficients);
  const P low = fma(s, half_square + series, fma(k, P(Exponential<double>::ln2_low), tail));
  return fma(k, P(Exponential<double>::ln2_high), f - (half_square - low));
}

// In float log m = f - f^2/2 + f^3 L(f), minimax.
template <int W>
PMP_INLINE Pack<float, W> log_normal(Pack<float, W> x, Pack<float, W> tail) {
  using P = Pack<float, W>;
  constexpr float coefficients[] = {3.333331048e-01f,  -2.499998659e-01f, 2.000222653e-01f,
                                    -1.666925251e-01f, 1.421866417e-01f,  -1.238433570e-01f,
                                    1.187292561e-01f,  -1.178986132e-01f, 6.915536523e-02f};
  P k;
  const P f = split_exponent(x, k) - P(1);
  const P square = f * f;
  const P low = fma(f * square, polynomial(f, coefficients), fma(k, P(Exponential<float>::ln2_low), tail));
  return fma(k, P(Exponential<float>::ln2_high), f + fnma(P(0.5f), square, low));
}

template <class P>
PMP_INLINE P log(P x) {
  using F = Format<typename P::Scalar>;
  const auto normal = (x >= P(F::smallest)) & (x <= P(F::largest));
  return patch(!normal, x, log_normal(x, P(0)), library::log);
}

// log(1 + x) = log u + c/u, where u = 1 + x rounded and c is what it lost.
template <class P>
PMP_INLINE P log1p(P x) {
  using T = typename P::Scalar;
  const P one(1), u = one + x;
  const P lost = select(x > one, one - (u - x), x - (u - one));
  const auto normal = (x > P(-1)) & (x <= P(Format<T>::largest));
  return patch(!normal, x, copysign(log_normal(u, lost / u), x), library::log1p);
}

}  // namespace kernel

#define PMP_BY_PARTS(name)                                                                      \
  template <class T, int W>                                                                     \
  PMP_INLINE Pack<T, W> name(Pack<T, W> x) {                                                    \
    return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA { return kernel::name(part); }); \
  }
PMP_BY_PARTS(log)
PMP_BY_PARTS(log1p)
#undef PMP_BY_PARTS

#endif

}  // namespace PMP_ISA
}  // namespace pontryagin
