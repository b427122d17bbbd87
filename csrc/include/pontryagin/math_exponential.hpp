// exp, log, tanh, sigmoid.
#pragma once

#include "math_library.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

#if !PMP_CUDA

namespace kernel {

// ln2_high has trailing zeros, so that its products with an exponent are exact.
// exp r = 1 + r + r^2 E(r) for |r| <= ln(2)/2, minimax.
template <class T>
struct Exponential;
template <>
struct Exponential<double> {
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = 0x1.62e42ff000000p-1, ln2_low = -0x1.718432a1b0e26p-35;
  static constexpr double overflow = 710.0, underflow = -746.0;  // exp is infinite above, zero below
  static constexpr double coefficients[] = {5.00000000000001221e-01, 1.66666666666666990e-01, 4.16666666665152438e-02,
                                            8.33333333330717532e-03, 1.38888889470665535e-03, 1.98412699174468481e-04,
                                            2.48014898858220989e-05, 2.75572162442294835e-06, 2.76313017264839306e-07,
                                            2.51178790672736610e-08};
};
template <>
struct Exponential<float> {
  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;
  static constexpr float overflow = 89.0f, underflow = -104.0f;
  static constexpr float coefficients[] = {5.000000000e-01f, 1.666651815e-01f, 4.166620597e-02f, 8.368900046e-03f,
                                           1.395050553e-03f};
};

// exp(x + tail) = 2^k times the result; k is left in the lowest bits of `shifted`. |tail| is below half a unit of x.
template <class P>
PMP_INLINE P exp_fraction(P x, P tail, P& shifted) {
  using T = typename P::Scalar;
  using Constants = Exponential<T>;
  const P magic(Format<T>::magic);
  shifted = fma(x, P(Constants::log2_e), magic);
  const P k = shifted - magic;
  const P high = fnma(k, P(Constants::ln2_high), x);
  const P low = fnma(k, P(Constants::ln2_low), tail);
  const P r = high + low;
  const P rest = (high - r) + low;
  // 1 + r is rounded, and what it loses is given back with the small terms.
  const P one(1), head = one + r;
  return head + ((r - (head - one)) + fma(r * r, polynomial(r, Constants::coefficients), rest));
}

template <class P>
PMP_INLINE P power_of_two(P shifted) {
  using F = Format<typename P::Scalar>;
  return from_bits<P>((as_bits(shifted) << F::mantissa) + typename P::Bits(F::one));
}

// y 2^k, where 2^k is normal.
template <class P>
PMP_INLINE P scale_normal(P y, P shifted) {
  return y * power_of_two(shifted);
}

// y 2^k in two steps, so that the result may overflow or be subnormal; rounded once.
template <class P>
PMP_INLINE P scale(P y, P shifted) {
  using F = Format<typename P::Scalar>;
  const P magic(F::magic), k = shifted - magic;
  const P half = fma(k, P(0.5), magic), rest = (k - (half - magic)) + magic;
  return (y * power_of_two(half)) * power_of_two(rest);
}

template <class P>
PMP_INLINE P exp(P x) {
  using Constants = Exponential<typename P::Scalar>;
  const P high(Constants::overflow), low(Constants::underflow);
  x = select(x > high, high, select(x < low, low, x));  // not a number passes
  P shifted;
  const P y = exp_fraction(x, P(0), shifted);
  return scale(y, shifted);
}

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

// With f = m - 1, s = f/(2 + f): log m = f - f^2/2 + s (f^2/2 + s^2 L(s^2)) (fdlibm, Sun 1993),
// L minimax.
template <int W>
PMP_INLINE Pack<double, W> log_normal(Pack<double, W> x) {
  using P = Pack<double, W>;
  constexpr double coefficients[] = {6.66666666666673402e-01, 3.99999999994146760e-01, 2.85714287423877888e-01,
                                     2.22221985731662991e-01, 1.81835643271627684e-01, 1.53140505223103213e-01,
                                     1.47959500364669067e-01};
  P k;
  const P f = split_exponent(x, k) - P(1);
  const P s = f / (f + P(2)), z = s * s, half_square = P(0.5) * f * f;
  const P series = z * polynomial(z, coefficients);
  const P low = fma(s, half_square + series, k * P(Exponential<double>::ln2_low));
  return fma(k, P(Exponential<double>::ln2_high), f - (half_square - low));
}

// log m = f - f^2/2 + f^3 L(f), minimax.
template <int W>
PMP_INLINE Pack<float, W> log_normal(Pack<float, W> x) {
  using P = Pack<float, W>;
  constexpr float coefficients[] = {3.333331048e-01f,  -2.499998659e-01f, 2.000222653e-01f,
                                    -1.666925251e-01f, 1.421866417e-01f,  -1.238433570e-01f,
                                    1.187292561e-01f,  -1.178986132e-01f, 6.915536523e-02f};
  P k;
  const P f = split_exponent(x, k) - P(1);
  const P square = f * f;
  const P low = fma(f * square, polynomial(f, coefficients), k * P(Exponential<float>::ln2_low));
  return fma(k, P(Exponential<float>::ln2_high), f + fnma(P(0.5f), square, low));
}

// tanh |x| = 1 - 2/(exp |2x| + 1), and for small |x| x + x z N(z)/D(z), z = x^2 (Moshier, Cephes 1992): one division.
template <class T>
struct HyperbolicTangent;
template <>
struct HyperbolicTangent<double> {
  static constexpr double saturated = 22.0;
  static constexpr double numerator[] = {-1.61468768441708447952e3, -9.92877231001918586564e1,
                                         -9.64399179425052238628e-1};
  static constexpr double denominator[] = {4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2,
                                           1.0};
};
template <>
struct HyperbolicTangent<float> {
  static constexpr float saturated = 10.0f;
  static constexpr float numerator[] = {-3.333328366e-01f, 1.333149076e-01f, -5.374349654e-02f, 2.065058798e-02f,
                                        -5.717045628e-03f};
  static constexpr float denominator[] = {1.0f};
};

template <class P>
PMP_INLINE P tanh(P x) {
  using Constants = HyperbolicTangent<typename P::Scalar>;
  const P size = abs(x), saturated(Constants::saturated), one(1);
  const P bounded = select(size > saturated, saturated, size);
  P shifted;
  const P fraction = exp_fraction(bounded + bounded, P(0), shifted);
  const P e = scale_normal(fraction, shifted);
  const P z = size * size;
  const auto small = size < P(0.625);
  const P numerator = select(small, size * z * polynomial(z, Constants::numerator), P(-2));
  const P denominator = select(small, polynomial(z, Constants::denominator), e + one);
  return copysign(select(small, size, one) + numerator / denominator, x);
}

}  // namespace kernel

template <class T, int W>
PMP_INLINE Pack<T, W> exp(Pack<T, W> x) {
  return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA { return kernel::exp(part); });
}

template <class T, int W>
PMP_INLINE Pack<T, W> log(Pack<T, W> x) {
  return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA {
    using P = decltype(part);
    using F = kernel::Format<T>;
    const auto normal = (part >= P(F::smallest)) & (part <= P(F::largest));
    return kernel::patch(!normal, part, kernel::log_normal(part), library::log);
  });
}

template <class T, int W>
PMP_INLINE Pack<T, W> tanh(Pack<T, W> x) {
  return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA { return kernel::tanh(part); });
}

#endif

// 1/(1 + exp(-x)), with no loss on either side.
template <class T, int W>
PMP_INLINE Pack<T, W> sigmoid(Pack<T, W> x) {
  const Pack<T, W> one(1), e = exp(-abs(x));
  return select(x < Pack<T, W>(0), e, one) / (one + e);
}

}  // namespace PMP_ISA
}  // namespace pontryagin
