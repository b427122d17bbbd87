// pow, hypot.
#pragma once

#include "math_logarithm.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

#if !PMP_CUDA

namespace kernel {

// log x = high + low to about 2^-66 relative, for positive normal x = 2^k m. With s = (m - 1)/(m + 1) and z = s^2,
//     log m = 2 atanh s = 2 (s + s z (1/3 + z A(z))),     A minimax.
// Every quantity down to s z / 3 is a sum of two numbers.
template <int W>
PMP_INLINE void log_twofold(Pack<double, W> x, Pack<double, W>& high, Pack<double, W>& low) {
  using P = Pack<double, W>;
  constexpr double coefficients[] = {2.00000000000000011e-01, 1.42857142857141878e-01, 1.11111111111452887e-01,
                                     9.09090908462673736e-02, 7.69230837657462752e-02, 6.66662022004614330e-02,
                                     5.88433681955006643e-02, 5.21145359872337288e-02, 5.50664339317274501e-02};
  const P one(1), third(0x1.5555555555555p-2), third_low(0x1.5555555555555p-56);
  P k;
  const P m = split_exponent(x, k);
  const P f = m - one, d = m + one, d_low = m - (d - one);
  const P inverse = one / d;
  const P s = f * inverse;
  const P product = s * d;
  const P s_low = fnma(s, d_low, (f - product) - product_error(s, d, product)) * inverse;
  const P z = s * s, z_low = fma(s + s, s_low, product_error(s, s, z));
  const P tail = z * polynomial(z, coefficients);
  const P u = third + tail, u_low = ((third - u) + tail) + third_low;
  const P w = s * z, w_low = fma(s_low, z, fma(s, z_low, product_error(s, z, w)));
  const P v = w * u, v_low = fma(w_low, u, fma(w, u_low, product_error(w, u, v)));
  const P a = s + v, a_low = ((s - a) + v) + (v_low + s_low);
  const P exponent = k * P(Exponential<double>::ln2_high), twice = a + a;
  high = exponent + twice;
  low = ((exponent - high) + twice) + fma(k, P(Exponential<double>::ln2_low), a_low + a_low);
}

// x^y for positive x. Rare: arguments and results at the ends of the range.
template <int W>
PMP_INLINE Pack<double, W> pow_positive(Pack<double, W> x, Pack<double, W> y, Mask<8, W>& rare) {
  using P = Pack<double, W>;
  using F = Format<double>;
  P high, low, shifted;
  log_twofold(x, high, low);
  const P product = y * high;
  const P fraction = exp_fraction(product, fma(y, low, product_error(y, high, product)), shifted);
  rare = !((x >= P(F::smallest)) & (x <= P(F::largest)) & (abs(y) <= P(0x1p64)) & (abs(product) <= P(700.0)));
  return scale_normal(fraction, shifted);
}

// In float, through double, where the plain logarithm is exact enough and the range is wide enough.
template <int W>
PMP_INLINE Pack<float, W> pow_positive(Pack<float, W> x, Pack<float, W> y, Mask<4, W>& rare) {
  using P = Pack<float, W>;
  using Wide = Pack<double, W>;
  const P largest(Format<float>::largest);
  const Wide end(700.0), product = convert<double>(y) * log_normal(convert<double>(x), Wide(0));
  Wide shifted;
  const Wide fraction =
      exp_fraction(select(product > end, end, select(product < -end, -end, product)), Wide(0), shifted);
  rare = !((x > P(0)) & (x <= largest) & (abs(y) <= largest));
  return convert<float>(scale_normal(fraction, shifted));
}

template <class P>
PMP_INLINE P pow(P x, P y) {
  typename P::Mask rare;
  const P positive = pow_positive(abs(x), y, rare);
  const P half = P(0.5) * y;
  const auto odd = (trunc(half) != half) & (trunc(y) == y);
  const P not_real(__builtin_nan(""));
  const P negative = select(odd, -positive, select(trunc(y) == y, positive, not_real));
  return patch(rare, x, y, select(x < P(0), negative, positive), library::pow);
}

// Rare: squares near the ends of the range.
template <class P>
PMP_INLINE P hypot(P x, P y) {
  constexpr bool wide = sizeof(typename P::Scalar) == 8;
  const P ax = abs(x), ay = abs(y), larger = select(ax < ay, ay, ax);
  const auto inside = (larger >= P(wide ? 0x1p-450 : 0x1p-45)) & (larger <= P(wide ? 0x1p500 : 0x1p60)) & (ay == ay);
  return patch(!inside, x, y, sqrt(fma(x, x, y * y)), library::hypot);
}

}  // namespace kernel

template <class T, int W>
PMP_INLINE Pack<T, W> pow(Pack<T, W> x, Pack<T, W> y) {
  return kernel::by_parts(x, y, [](auto a, auto b) PMP_INLINE_LAMBDA { return kernel::pow(a, b); });
}

template <class T, int W>
PMP_INLINE Pack<T, W> hypot(Pack<T, W> x, Pack<T, W> y) {
  return kernel::by_parts(x, y, [](auto a, auto b) PMP_INLINE_LAMBDA { return kernel::hypot(a, b); });
}

#endif

}  // namespace PMP_ISA
}  // namespace pontryagin
