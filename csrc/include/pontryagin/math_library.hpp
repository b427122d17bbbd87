// The C library, one lane at a time: functions that are too rare to be worth a vector form, and the rare lanes of
// others.
#pragma once

#include "math_kernel.hpp"

// clang-format off
#define PMP_LIBRARY_UNARY(X) \
  X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(asinh) X(acosh) X(atanh) \
  X(exp) X(expm1) X(log) X(log1p) X(erf)
#define PMP_LIBRARY_BINARY(X) X(pow) X(atan2) X(hypot)
// clang-format on

namespace pontryagin {
inline namespace PMP_ISA {

#if PMP_CUDA

#define PMP_DEVICE_UNARY(name)                                                  \
  PMP_INLINE Pack<double, 1> name(Pack<double, 1> x) { return ::name(x.v[0]); } \
  PMP_INLINE Pack<float, 1> name(Pack<float, 1> x) { return ::name##f(x.v[0]); }
#define PMP_DEVICE_BINARY(name)                                                                            \
  PMP_INLINE Pack<double, 1> name(Pack<double, 1> x, Pack<double, 1> y) { return ::name(x.v[0], y.v[0]); } \
  PMP_INLINE Pack<float, 1> name(Pack<float, 1> x, Pack<float, 1> y) { return ::name##f(x.v[0], y.v[0]); }
PMP_LIBRARY_UNARY(PMP_DEVICE_UNARY)
PMP_DEVICE_UNARY(tanh)
PMP_LIBRARY_BINARY(PMP_DEVICE_BINARY)
#undef PMP_DEVICE_UNARY
#undef PMP_DEVICE_BINARY

#else

namespace library {
#define PMP_LIBRARY_LANE(name)                                              \
  PMP_NOINLINE inline double name(double x) { return __builtin_##name(x); } \
  PMP_NOINLINE inline float name(float x) { return __builtin_##name##f(x); }
PMP_LIBRARY_UNARY(PMP_LIBRARY_LANE)
#undef PMP_LIBRARY_LANE
#define PMP_LIBRARY_LANE(name)                                                           \
  PMP_NOINLINE inline double name(double x, double y) { return __builtin_##name(x, y); } \
  PMP_NOINLINE inline float name(float x, float y) { return __builtin_##name##f(x, y); }
PMP_LIBRARY_BINARY(PMP_LIBRARY_LANE)
#undef PMP_LIBRARY_LANE

template <class P, class T = typename P::Scalar>
PMP_INLINE P each_lane(P x, T (*f)(T)) {
  if constexpr (P::width == 1) {
    return f(x.v[0]);
  } else {
    alignas(64) T lanes[P::width];
    x.store(lanes);
    for (int i = 0; i < P::width; ++i) lanes[i] = f(lanes[i]);
    return P::load(lanes);
  }
}
}  // namespace library

#define PMP_BY_LANE(name)                                       \
  template <class T, int W>                                     \
  PMP_INLINE Pack<T, W> name(Pack<T, W> x) {                    \
    return library::each_lane<Pack<T, W>, T>(x, library::name); \
  }
PMP_BY_LANE(asinh)
PMP_BY_LANE(acosh)
PMP_BY_LANE(atanh)
PMP_BY_LANE(erf)
#undef PMP_BY_LANE

#endif

}  // namespace PMP_ISA
}  // namespace pontryagin

#undef PMP_LIBRARY_UNARY
#undef PMP_LIBRARY_BINARY
