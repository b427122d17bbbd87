// Activations sigma of multilayer perceptrons and their slopes sigma', over rows of numbers.
#pragma once

#include "math.hpp"
#include "mlp.hpp"

// Where a register holds sixteen floats there are instructions for what follows.
#if !PMP_CUDA && defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define PMP_FLOAT_REGISTERS 1
#else
#define PMP_FLOAT_REGISTERS 0
#endif

namespace pontryagin {
inline namespace PMP_ISA {
namespace activation {

// x in [-limit, limit]; not a number passes.
template <class P>
PMP_INLINE P clamp(P x, P limit) {
#if PMP_FLOAT_REGISTERS
  if constexpr (P::lanes == 16 && sizeof(typename P::Scalar) == 4) {
    PMP_UNROLL
    for (int i = 0; i < P::count; ++i) {  // the second operand where either is not a number
      const Float64 below = _mm512_maskz_min_ps(0xffff, limit.v[i], x.v[i]);
      x.v[i] = _mm512_maskz_max_ps(0xffff, -limit.v[i], below);
    }
    return x;
  }
#endif
  return select(x > limit, limit, select(x < -limit, -limit, x));
}

// tanh in float: x P(x^2) / Q(x^2), minimax on |x| <= 9, where it is 1 to rounding. Within 7 units in the last place
// (1 is exceeded by one at most); odd; not a number stays that. At a fraction of the cost of tanh in math_exponential.hpp.
template <int W>
PMP_INLINE Pack<float, W> quick_tanh(Pack<float, W> x) {
  using P = Pack<float, W>;
  const P limit(9.0f);
  x = clamp(x, limit);
  const P z = x * x;
  P p = fma(z, P(1.335390731e-08f), P(2.060888437e-05f));
  P q = fma(z, P(7.776415032e-07f), P(3.285613493e-04f));
  p = fma(z, p, P(3.495574463e-03f));
  q = fma(z, q, P(2.587693185e-02f));
  p = fma(z, p, P(1.338101476e-01f));
  q = fma(z, q, P(4.671432972e-01f));
  return fma(z * x, p, x) / fma(z, q, P(1));
}
template <int W>
PMP_INLINE Pack<double, W> quick_tanh(Pack<double, W> x) {
  return tanh(x);
}

// Value and slope of one activation; the slopes of the first three follow from the value.
template <class P>
struct Value {
  P z, slope;
};

template <class P>
PMP_INLINE Value<P> gelu(P x) {  // x Phi(x), Phi the normal distribution function
  const P phi = exp(P(-0.5) * x * x) * P(0.39894228040143267794);
  const P Phi = P(0.5) * (P(1) + erf(x * P(0.70710678118654752440)));
  // x phi(x) vanishes for infinite x, too
  return {x * Phi, Phi + select(phi == P(0), P(0), x * phi)};
}

template <class P>
PMP_INLINE Value<P> gelu_tanh(P x) {
  const P a(0.79788456080286535588), b(0.044715), one(1), half(0.5);
  const P xx = x * x, t = tanh(a * x * fma(b, xx, one));
  const P slope = fnma(t, t, one) * a * fma(P(3) * b, xx, one);
  return {half * x * (one + t), half * (fma(x, select(t * t == one, P(0), slope), one + t))};
}

// e = exp(-|x|) gives the logistic function without loss on either side.
template <class P>
PMP_INLINE P logistic(P x, P e) {
  return select(x < P(0), e, P(1)) / (P(1) + e);
}

template <class P>
PMP_INLINE Value<P> silu(P x) {
  const P s = logistic(x, exp(-abs(x)));
  return {x * s, fma(x * s, P(1) - s, s)};
}

template <class P>
PMP_INLINE Value<P> softplus(P x) {
  const P e = exp(-abs(x)), threshold(20);
  return {select(x > threshold, x, select(x < P(0), P(0), x) + log1p(e)), select(x > threshold, P(1), logistic(x, e))};
}

template <class P>
PMP_INLINE Value<P> sine(P x) {
  Value<P> value;
  sincos(x, value.z, value.slope);
  return value;
}

// Of one register; the slopes of the first three are those that `through` makes of the output.
template <class P>
PMP_INLINE Value<P> value(Activation activation, P x) {
  switch (activation) {
    case Activation::identity: break;
    case Activation::tanh: return {quick_tanh(x), P(0)};
    case Activation::relu: return {select(x <= P(0), P(0), x), P(0)};
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh: return gelu_tanh(x);
    case Activation::silu: return silu(x);
    case Activation::softplus: return softplus(x);
    case Activation::sin: return sine(x);
  }
  return {x, P(0)};
}

template <class P, class T, class F>
PMP_INLINE void with_slopes(T* z, T* slope, long count, F f) {
  for (long i = 0; i < count; i += P::width) {
    const Value<P> value = f(P::load(z + i));
    value.z.store(z + i);
    if (slope) value.slope.store(slope + i);
  }
}

// z <- sigma(z); slope, where asked for and kept, sigma'(z). `count` is a multiple of the lanes of P.
template <class P, class T>
PMP_NOINLINE void apply(Activation activation, T* z, T* slope, long count) {
  switch (activation) {
    case Activation::identity: return;
    case Activation::tanh:
      for (long i = 0; i < count; i += P::width) quick_tanh(P::load(z + i)).store(z + i);
      return;
    case Activation::relu:
      for (long i = 0; i < count; i += P::width) {
        const P x = P::load(z + i);
        select(x <= P(0), P(0), x).store(z + i);
      }
      return;
    case Activation::gelu: return with_slopes<P>(z, slope, count, [](P x) PMP_INLINE_LAMBDA { return gelu(x); });
    case Activation::gelu_tanh:
      return with_slopes<P>(z, slope, count, [](P x) PMP_INLINE_LAMBDA { return gelu_tanh(x); });
    case Activation::silu: return with_slopes<P>(z, slope, count, [](P x) PMP_INLINE_LAMBDA { return silu(x); });
    case Activation::softplus:
      return with_slopes<P>(z, slope, count, [](P x) PMP_INLINE_LAMBDA { return softplus(x); });
    case Activation::sin: return with_slopes<P>(z, slope, count, [](P x) PMP_INLINE_LAMBDA { return sine(x); });
  }
}

// g <- g sigma', from the output or the slope, whichever is kept.
template <class P>
PMP_INLINE P through_tanh(P g, P z) {
  return g * fnma(z, z, P(1));
}
template <class P>
PMP_INLINE P through_relu(P g, P z) {
  return select(z <= P(0), P(0), g);
}

template <class P>
PMP_INLINE P through(Activation activation, P g, P z, P slope) {
  switch (activation) {
    case Activation::identity: return g;
    case Activation::tanh: return through_tanh(g, z);
    case Activation::relu: return through_relu(g, z);
    default: return g * slope;
  }
}

template <class P, class T>
PMP_NOINLINE void retreat(Activation activation, T* g, const T* z, const T* slope, long count) {
  if (activation == Activation::identity) return;
  if (activation == Activation::tanh)
    for (long i = 0; i < count; i += P::width) through_tanh(P::load(g + i), P::load(z + i)).store(g + i);
  else if (activation == Activation::relu)
    for (long i = 0; i < count; i += P::width) through_relu(P::load(g + i), P::load(z + i)).store(g + i);
  else
    for (long i = 0; i < count; i += P::width) (P::load(g + i) * P::load(slope + i)).store(g + i);
}

}  // namespace activation
}  // namespace PMP_ISA
}  // namespace pontryagin

#undef PMP_FLOAT_REGISTERS
