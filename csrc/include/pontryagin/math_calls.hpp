// Elementary functions out of line: for the loops of the interpreters, and for long generated formulas.
#pragma once

#include "macros.hpp"
#include "math.hpp"

namespace pontryagin {
inline namespace PMP_ISA {
namespace calls {

#define PMP_FUNCTION(name)              \
  template <class Real>                 \
  PMP_NOINLINE Real name##_of(Real a) { \
    return name(a);                     \
  }
#define PMP_FUNCTION_2(name)                    \
  template <class Real>                         \
  PMP_NOINLINE Real name##_of(Real a, Real b) { \
    return name(a, b);                          \
  }
PMP_FUNCTION(exp)
PMP_FUNCTION(expm1)
PMP_FUNCTION(log)
PMP_FUNCTION(log1p)
PMP_FUNCTION(sin)
PMP_FUNCTION(cos)
PMP_FUNCTION(tan)
PMP_FUNCTION(asin)
PMP_FUNCTION(acos)
PMP_FUNCTION(atan)
PMP_FUNCTION(sinh)
PMP_FUNCTION(cosh)
PMP_FUNCTION(tanh)
PMP_FUNCTION(asinh)
PMP_FUNCTION(acosh)
PMP_FUNCTION(atanh)
PMP_FUNCTION(erf)
PMP_FUNCTION(sigmoid)
PMP_FUNCTION_2(pow)
PMP_FUNCTION_2(atan2)
PMP_FUNCTION_2(hypot)
#undef PMP_FUNCTION
#undef PMP_FUNCTION_2

template <class Real>
struct SineCosine {
  Real sine, cosine;
};

template <class Real>
PMP_NOINLINE SineCosine<Real> sincos_of(Real a) {
  SineCosine<Real> out;
  sincos(a, out.sine, out.cosine);
  return out;
}

template <class Real>
PMP_INLINE void sincos_into(Real a, Real& sine, Real& cosine) {
  const SineCosine<Real> both = sincos_of(a);
  sine = both.sine, cosine = both.cosine;
}

// From memory to memory, two registers at a time: packs would go through the stack. A result may take the place of the angles.
template <class Real, class T>
PMP_NOINLINE void sincos_at(const T* angle, T* sine, T* cosine) {
  using Part = Pack<T, (Real::count > 2 ? 2 : Real::count) * Real::lanes>;
  PMP_ROLLED
  for (int i = 0; i < Real::width; i += Part::width) {
    Part s, c;
    sincos(Part::load(angle + i), s, c);
    s.store(sine + i);
    c.store(cosine + i);
  }
}


}  // namespace calls
}  // namespace PMP_ISA
}  // namespace pontryagin
