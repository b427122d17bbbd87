// atan, atan2, asin, acos.
#pragma once

#include "math_library.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

#if !PMP_CUDA

namespace kernel {

// atan t = t + t z A(z), z = t^2, for |t| <= 1/2, minimax.
template <class T>
struct Arc;
template <>
struct Arc<double> {
  static constexpr double quarter_pi_high = 0x1.921fb54442d18p-1, quarter_pi_low = 0x1.1a62633145c07p-55;
  static constexpr double coefficients[] = {
      -3.33333333333333148e-01, 1.99999999999934452e-01, -1.42857142849777352e-01, 1.11111110693628126e-01,
      -9.09090769205549293e-02, 7.69227747642001886e-02, -6.66622370313359330e-02, 5.87780937008018506e-02,
      -5.23003040335813102e-02, 4.58953445669613574e-02, -3.71213296720392869e-02, 2.36593613405095896e-02,
      -8.36880115163565232e-03};
};
template <>
struct Arc<float> {
  static constexpr float quarter_pi_high = 0x1.921fb6p-1f, quarter_pi_low = -0x1.777a5cp-26f;
  static constexpr float coefficients[] = {-3.333332837e-01f, 1.999949962e-01f,  -1.427225173e-01f,
                                           1.094237193e-01f,  -7.989131659e-02f, 3.879204765e-02f};
};

// The angle of (x, y), both not negative, counted from the axis nearest to it or from the diagonal:
// atan t = atan (y/x) - j pi/4 with j = 0, 1, 2 where y/x is below 1/2, between, above 2.
template <class P>
PMP_INLINE P arc(P y, P x, P& j) {
  const auto low = y + y < x, high = x + x < y;
  const P t = select(low, y, select(high, -x, y - x)) / select(low, x, select(high, y, y + x));
  j = select(low, P(0), select(high, P(2), P(1)));
  const P z = t * t;
  return fma(t * z, polynomial(z, Arc<typename P::Scalar>::coefficients), t);
}

template <class P>
PMP_INLINE P atan(P x) {
  using Constants = Arc<typename P::Scalar>;
  P j;
  const P angle = arc(abs(x), P(1), j);
  return copysign(fma(j, P(Constants::quarter_pi_high), fma(j, P(Constants::quarter_pi_low), angle)), x);
}

template <class P>
PMP_INLINE P atan2(P y, P x) {
  using T = typename P::Scalar;
  using Constants = Arc<T>;
  const P ay = abs(y), ax = abs(x), sum = ay + ax;
  P j;
  P angle = arc(ay, ax, j);
  const auto left = x < P(0);
  j = select(left, P(4) - j, j);
  angle = select(left, -angle, angle);
  const P result = copysign(fma(j, P(Constants::quarter_pi_high), fma(j, P(Constants::quarter_pi_low), angle)), y);
  // The origin, infinities, sums that overflow, not a number.
  const auto rare = !((sum > P(0)) & (sum <= P(Format<T>::largest)));
  return patch(rare, y, x, result, library::atan2);
}

// asin t = t + t z S(z), z = t^2, for |t| <= 1/2, minimax.
template <class T>
struct InverseSine;
template <>
struct InverseSine<double> {
  static constexpr double coefficients[] = {1.66666666666667629e-01, 7.49999999997026101e-02, 4.46428571751214531e-02,
                                            3.03819426835931460e-02, 2.23722156608217211e-02, 1.73516000847465032e-02,
                                            1.39809615160834278e-02, 1.13977755820434297e-02, 1.07865308236324790e-02,
                                            3.68303667401269266e-03, 2.17635095527614827e-02, -2.10773041581458313e-02,
                                            3.26768957678543262e-02};
};
template <>
struct InverseSine<float> {
  static constexpr float coefficients[] = {1.666665971e-01f, 7.500510663e-02f, 4.451572150e-02f,
                                           3.181760758e-02f, 1.440261491e-02f, 3.756519035e-02f};
};

// For |x| > 1/2 by half the angle: acos |x| = 2 asin t, t^2 = (1 - |x|)/2. Then asin t = t + rest.
template <class P>
PMP_INLINE typename P::Mask half_angle(P x, P& t, P& rest) {
  const P size = abs(x);
  const auto outer = size > P(0.5);
  const P z = select(outer, P(0.5) * (P(1) - size), size * size);
  t = select(outer, sqrt(z), size);
  rest = t * z * polynomial(z, InverseSine<typename P::Scalar>::coefficients);
  return outer;
}

template <class P>
PMP_INLINE P asin(P x) {
  using Constants = Arc<typename P::Scalar>;
  P t, rest;
  const auto outer = half_angle(x, t, rest);
  const P high(2 * Constants::quarter_pi_high), low(2 * Constants::quarter_pi_low);
  const P twice = t + t;
  return copysign(select(outer, high - (twice + (rest + rest - low)), t + rest), x);
}

template <class P>
PMP_INLINE P acos(P x) {
  using Constants = Arc<typename P::Scalar>;
  P t, rest;
  const auto outer = half_angle(x, t, rest);
  const auto left = x < P(0);
  // 2 asin t, pi - 2 asin t, or pi/2 - asin x.
  const P quarters = select(outer, select(left, P(4), P(0)), P(2));
  const P factor = select(outer, select(left, P(-2), P(2)), select(left, P(1), P(-1)));
  return fma(quarters, P(Constants::quarter_pi_high),
             fma(factor, t, fma(factor, rest, quarters * P(Constants::quarter_pi_low))));
}

}  // namespace kernel

#define PMP_BY_PARTS(name)                                                                      \
  template <class T, int W>                                                                     \
  PMP_INLINE Pack<T, W> name(Pack<T, W> x) {                                                    \
    return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA { return kernel::name(part); }); \
  }
PMP_BY_PARTS(asin)
PMP_BY_PARTS(acos)
PMP_BY_PARTS(atan)
#undef PMP_BY_PARTS

template <class T, int W>
PMP_INLINE Pack<T, W> atan2(Pack<T, W> y, Pack<T, W> x) {
  return kernel::by_parts(y, x, [](auto b, auto a) PMP_INLINE_LAMBDA { return kernel::atan2(b, a); });
}

#endif

}  // namespace PMP_ISA
}  // namespace pontryagin
