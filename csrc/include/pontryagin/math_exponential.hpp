// exp, expm1, sinh, cosh, tanh, sigmoid.
#pragma once

#include "math_library.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

#if PMP_CUDA

template <class T>
PMP_INLINE Pack<T, 1> sigmoid(Pack<T, 1> x) {
  const Pack<T, 1> one(1), e = exp(-abs(x));
  return select(x < Pack<T, 1>(0), e, one) / (one + e);
}

#else

namespace kernel {

// ln2_high has trailing zeros, so that its products with an exponent are exact.
// exp r = 1 + r + r^2 E(r) for |r| <= ln(2)/2, minimax.
template <class T>
struct Exponential;
template <>
struct Exponential<double> {
  static constexpr double log2_e = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = 0x1.62e42ff000000p-1, ln2_low = -0x1.718432a1b0e26p-35;
  static constexpr double overflow = 711.0, underflow = -746.0;  // exp/2 is infinite above, exp zero below
  static constexpr double coefficients[] = {5.00000000000001221e-01, 1.66666666666666990e-01, 4.16666666665152438e-02,
                                            8.33333333330717532e-03, 1.38888889470665535e-03, 1.98412699174468481e-04,
                                            2.48014898858220989e-05, 2.75572162442294835e-06, 2.76313017264839306e-07,
                                            2.51178790672736610e-08};
};
template <>
struct Exponential<float> {
  static constexpr float log2_e = 0x1.715476p+0f;
  static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;
  static constexpr float overflow = 90.0f, underflow = -104.0f;
  static constexpr float coefficients[] = {5.000000000e-01f, 1.666651815e-01f, 4.166620597e-02f, 8.368900046e-03f,
                                           1.395050553e-03f};
};

// x + tail = k ln 2 + r + rest, where k is left in the lowest bits of `shifted`; returns exp(r + rest) - 1 - r.
// |tail| is below half a unit of x.
template <class P>
PMP_INLINE P exp_series(P x, P tail, P& shifted, P& r) {
  using T = typename P::Scalar;
  using Constants = Exponential<T>;
  const P magic(Format<T>::magic);
  shifted = fma(x, P(Constants::log2_e), magic);
  const P k = shifted - magic;
  const P high = fnma(k, P(Constants::ln2_high), x);
  const P low = fnma(k, P(Constants::ln2_low), tail);
  r = high + low;
  return fma(r * r, polynomial(r, Constants::coefficients), (high - r) + low);
}

// exp(x + tail) = 2^k times the result: 1 + r is rounded, and what it loses is given back with the small terms.
template <class P>
PMP_INLINE P exp_fraction(P x, P tail, P& shifted) {
  P r;
  const P series = exp_series(x, tail, shifted, r);
  const P one(1), head = one + r;
  return head + ((r - (head - one)) + series);
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
PMP_INLINE P clamp_exponent(P x) {  // not a number passes
  using Constants = Exponential<typename P::Scalar>;
  const P high(Constants::overflow), low(Constants::underflow);
  return select(x > high, high, select(x < low, low, x));
}

template <class P>
PMP_INLINE P exp(P x) {
  P shifted;
  const P y = exp_fraction(clamp_exponent(x), P(0), shifted);
  return scale(y, shifted);
}

// ((1 - 2^-k) + (exp r - 1)) 2^k
template <class P>
PMP_INLINE P expm1(P x) {
  using F = Format<typename P::Scalar>;
  const P low(-(F::mantissa + 2)), magic(F::magic);
  P shifted, r;
  const P bounded = clamp_exponent(x);
  const P series = exp_series(select(bounded < low, low, bounded), P(0), shifted, r);
  const P k = shifted - magic;
  const P inverse_power = select(k > P(F::mantissa + 10), P(0), power_of_two(magic - k));
  const P base = P(1) - inverse_power, sum = base + r;
  return copysign(scale(sum + (((base - sum) + r) + series), shifted), x);
}

// cosh x = e + 1/(4 e), sinh |x| = e - 1/(4 e) with e = exp |x| / 2; for |x| < 1 sinh x = x + x z S(z), z = x^2,
// minimax.
template <class P>
PMP_INLINE P half_exp(P size) {
  P shifted;
  const P y = exp_fraction(clamp_exponent(size), P(0), shifted);
  return scale(y, shifted - P(1));
}

template <class P>
PMP_INLINE P cosh(P x) {
  const P e = half_exp(abs(x));
  return e + P(0.25) / e;
}

template <class T>
struct HyperbolicSine;
template <>
struct HyperbolicSine<double> {
  static constexpr double coefficients[] = {1.66666666666666685e-01, 8.33333333333313893e-03, 1.98412698414376812e-04,
                                            2.75573191553372052e-06, 2.50521233984985890e-08, 1.60572403457272905e-10,
                                            7.75931206900887236e-13};
};
template <>
struct HyperbolicSine<float> {
  static constexpr float coefficients[] = {1.666666716e-01f, 8.333350532e-03f, 1.983606635e-04f, 2.817439508e-06f};
};

template <class P>
PMP_INLINE P sinh(P x) {
  const P size = abs(x), e = half_exp(size), z = size * size;
  const P small = fma(size * z, polynomial(z, HyperbolicSine<typename P::Scalar>::coefficients), size);
  return copysign(select(size < P(1), small, e - P(0.25) / e), x);
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

// 1/(1 + exp(-x)), with no loss on either side.
template <class P>
PMP_INLINE P sigmoid(P x) {
  const P one(1), e = exp(-abs(x)), sum = one + e;
  return divide_twofold(select(x < P(0), e, one), P(0), sum, e - (sum - one));
}

}  // namespace kernel

#define PMP_BY_PARTS(name)                                                                      \
  template <class T, int W>                                                                     \
  PMP_INLINE Pack<T, W> name(Pack<T, W> x) {                                                    \
    return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA { return kernel::name(part); }); \
  }
PMP_BY_PARTS(exp)
PMP_BY_PARTS(expm1)
PMP_BY_PARTS(sinh)
PMP_BY_PARTS(cosh)
PMP_BY_PARTS(tanh)
PMP_BY_PARTS(sigmoid)
#undef PMP_BY_PARTS

#endif

}  // namespace PMP_ISA
}  // namespace pontryagin
