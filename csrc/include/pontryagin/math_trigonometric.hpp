// sin, cos, sincos, tan.
#pragma once

#include "math_library.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

#if PMP_CUDA

PMP_INLINE void sincos(Pack<double, 1> x, Pack<double, 1>& s, Pack<double, 1>& c) { ::sincos(x.v[0], s.v, c.v); }
PMP_INLINE void sincos(Pack<float, 1> x, Pack<float, 1>& s, Pack<float, 1>& c) { ::sincosf(x.v[0], s.v, c.v); }

#else

namespace kernel {

// pi/2 = half_pi[0] + half_pi[1] + ..., in parts so short that, up to `limit`, their products with k are exact where
// the multiply-add is not fused. sin r = r + r z S(z), cos r = 1 - z/2 + z^2 C(z) for |r| <= pi/4, z = r^2, minimax.
template <class T>
struct Circle;
template <>
struct Circle<double> {
  static constexpr double two_over_pi = 0x1.45f306dc9c883p-1;
#if PMP_FMA
  static constexpr double limit = 1e9;
  static constexpr int parts = 3;
  static constexpr double half_pi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
#else
  static constexpr double limit = 1.6e6;
  static constexpr int parts = 4;
  static constexpr double half_pi[] = {0x1.921fb54400000p+0, 0x1.0b4611a600000p-34, 0x1.3198a2e000000p-69,
                                       0x1.b839a252049c1p-104};
#endif
  static constexpr double sine[] = {-1.66666666666666324e-01, 8.33333333332239752e-03,  -1.98412698297946400e-04,
                                    2.75573136871548789e-06,  -2.50507573409684599e-08, 1.58967492143929473e-10};
  static constexpr double cosine[] = {4.16666666666666019e-02,  -1.38888888888741031e-03, 2.48015872894682896e-05,
                                      -2.75573143481409314e-07, 2.08757226806959127e-09,  -1.13596160116909052e-11};
};
template <>
struct Circle<float> {
  static constexpr float two_over_pi = 0x1.45f306p-1f;
#if PMP_FMA
  static constexpr float limit = 30000.0f;
  static constexpr int parts = 3;
  static constexpr float half_pi[] = {0x1.921fb6p+0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
#else
  static constexpr float limit = 400.0f;
  static constexpr int parts = 3;
  static constexpr float half_pi[] = {0x1.922p+0f, -0x1.2aeep-18f, -0x1.e973dcp-35f};
#endif
  static constexpr float sine[] = {-1.666666716e-01f, 8.333329111e-03f, -1.983933325e-04f, 2.718293445e-06f};
  static constexpr float cosine[] = {4.166664556e-02f, -1.388736651e-03f, 2.443827543e-05f};
};

// |x| = k pi/2 + r + r_low (Cody and Waite 1980); the lowest bits of `shifted` are k.
template <class P>
PMP_INLINE void reduce_twofold(P x, P& shifted, P& r, P& r_low) {
  using Constants = Circle<typename P::Scalar>;
  const P size = abs(x), magic(Format<typename P::Scalar>::magic);
  shifted = fma(size, P(Constants::two_over_pi), magic);
  const P k = shifted - magic;
  r = fnma(k, P(Constants::half_pi[0]), size);  // exact
  r_low = P(0);
  PMP_UNROLL
  for (int i = 1; i < Constants::parts; ++i) {
    const P before = r, part(Constants::half_pi[i]), product = k * part;
    r = before - product;
    r_low = r_low + ((before - r) - product);
#if PMP_FMA  // otherwise the product is exact
    r_low = r_low - product_error(k, part, product);
#endif
  }
}

// The same rounded to one number, and `near`, which is ready earlier and close enough for what is small beside r. Fused
// multiply-adds make no other error worth mention.
template <class P>
PMP_INLINE P reduce(P x, P& shifted, P& near) {
#if PMP_FMA
  using Constants = Circle<typename P::Scalar>;
  const P size = abs(x), magic(Format<typename P::Scalar>::magic);
  shifted = fma(size, P(Constants::two_over_pi), magic);
  const P k = shifted - magic;
  near = size;
  PMP_UNROLL
  for (int i = 0; i + 1 < Constants::parts; ++i) near = fnma(k, P(Constants::half_pi[i]), near);
  return fnma(k, P(Constants::half_pi[Constants::parts - 1]), near);
#else
  P r, r_low;
  reduce_twofold(x, shifted, r, r_low);
  near = r + r_low;
  return near;
#endif
}

// q = k modulo 4 picks function and sign.
template <class P>
PMP_INLINE void sincos(P x, P& s, P& c) {
  using T = typename P::Scalar;
  using Bits = typename P::Bits;
  using Constants = Circle<T>;
  P shifted, near;
  const P r = reduce(x, shifted, near);
  const P z = near * near, zz = z * z;
  const P sine = fma(near * z, by_pairs(z, zz, Constants::sine), r);
  const P cosine = fma(zz, by_pairs(z, zz, Constants::cosine), fma(P(-0.5), z, P(1)));
  const Bits q = as_bits(shifted), sign(Format<T>::sign), one(1);
  constexpr int up = 8 * sizeof(T) - 2;
  const auto odd = (q & one) != Bits(0);
  if constexpr (P::width ==
                1) {  // by a factor 1 or -1: bits of a scalar change in another register, and come back late
    const Bits plus(Format<T>::one);
    s = select(odd, cosine, sine) * from_bits<P>(plus | ((as_bits(x) ^ (q << up)) & sign));
    c = select(odd, sine, cosine) * from_bits<P>(plus | (((q + one) << up) & sign));
    return;
  }
  s = from_bits<P>(as_bits(select(odd, cosine, sine)) ^ ((as_bits(x) ^ (q << up)) & sign));
  c = from_bits<P>(as_bits(select(odd, sine, cosine)) ^ (((q + one) << up) & sign));
}

template <class P>
PMP_INLINE P tan(P x) {
  using T = typename P::Scalar;
  using Constants = Circle<T>;
  P shifted, r, r_low;
  reduce_twofold(x, shifted, r, r_low);
  const P z = r * r, z_low = fma(r + r, r_low, product_error(r, r, z)), half = P(-0.5) * z, one(1);
  const P s_rest = fma(r * z, polynomial(z, Constants::sine), r_low);
  const P s = r + s_rest, s_low = s_rest - (s - r);
  const P c_rest = fma(z * z, polynomial(z, Constants::cosine), P(-0.5) * z_low);
  const P head = one + half, rest = (half - (head - one)) + c_rest;
  const P c = head + rest, c_low = rest - (c - head);
  const auto odd = (as_bits(shifted) & typename P::Bits(1)) != typename P::Bits(0);
  const P quotient =
      divide_twofold(select(odd, -c, s), select(odd, -c_low, s_low), select(odd, s, c), select(odd, s_low, c_low));
  return from_bits<P>(as_bits(quotient) ^ (as_bits(x) & typename P::Bits(Format<T>::sign)));
}

// Not below the limit: huge, infinite, or not a number.
template <class P>
PMP_INLINE typename P::Mask beyond_reduction(P x) {
  return !(abs(x) <= P(Circle<typename P::Scalar>::limit));
}

}  // namespace kernel

template <class T, int W>
PMP_INLINE void sincos(Pack<T, W> x, Pack<T, W>& s, Pack<T, W>& c) {
  using P = Pack<T, W>;
  P sines, cosines;
  kernel::each_part<P>([&](int i) PMP_INLINE_LAMBDA {
    const auto part = kernel::part(x, i);
    kernel::Part<P> sine, cosine;
    kernel::sincos(part, sine, cosine);
    const auto rare = kernel::beyond_reduction(part);
    if (PMP_UNLIKELY(any(rare))) {
      sine = kernel::patch(rare, part, sine, library::sin);
      cosine = kernel::patch(rare, part, cosine, library::cos);
    }
    kernel::put_part(sines, i, sine);
    kernel::put_part(cosines, i, cosine);
  });
  s = sines;
  c = cosines;
}

template <class T, int W>
PMP_INLINE Pack<T, W> sin(Pack<T, W> x) {
  return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA {
    auto s = part, c = part;
    kernel::sincos(part, s, c);
    return kernel::patch(kernel::beyond_reduction(part), part, s, library::sin);
  });
}

template <class T, int W>
PMP_INLINE Pack<T, W> cos(Pack<T, W> x) {
  return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA {
    auto s = part, c = part;
    kernel::sincos(part, s, c);
    return kernel::patch(kernel::beyond_reduction(part), part, c, library::cos);
  });
}

template <class T, int W>
PMP_INLINE Pack<T, W> tan(Pack<T, W> x) {
  return kernel::by_parts(x, [](auto part) PMP_INLINE_LAMBDA {
    return kernel::patch(kernel::beyond_reduction(part), part, kernel::tan(part), library::tan);
  });
}

#endif

}  // namespace PMP_ISA
}  // namespace pontryagin
