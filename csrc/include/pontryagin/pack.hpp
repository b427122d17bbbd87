// Pack<T, W>: W lanes of T that step together, held in native vector registers; Pack<T, 1> is a plain scalar.
//
//     AVX-512: 64 bytes a register   AVX2 with FMA: 32   SSE, NEON: 16   CUDA: scalars only, a lane is a thread
//
// Every operation does the same to each lane, in the same order and with the same roundings, for every W: a lane's bits
// never depend on W or on its neighbours. Multiply-adds are fused only where `fma`, `fms` or `fnma` is written, and
// then always, scalars included, if the instruction set has them (PMP_FMA); without them they are a product and a sum.
// (Sign and payload of a NaN are not part of that promise.)
//
// A function that takes packs and is not inlined should take them by reference: by value they are copied in pieces
// through the stack, which can cost as much as a sine.
#pragma once

#include "macros.hpp"
#include "native.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// A statement for each register i of a pack. Written out for one and two: a loop would be taken apart by the compiler
// too, but late and at several times the cost.
#define PMP_PARTS(statement)                     \
  do {                                           \
    if constexpr (count == 1) {                  \
      constexpr int i = 0;                       \
      statement;                                 \
    } else if constexpr (count == 2) {           \
      {                                          \
        constexpr int i = 0;                     \
        statement;                               \
      }                                          \
      {                                          \
        constexpr int i = 1;                     \
        statement;                               \
      }                                          \
    } else {                                     \
      PMP_UNROLL                                 \
      for (int i = 0; i < count; ++i) statement; \
    }                                            \
  } while (0)

// One condition per lane of `bytes` bytes.
template <int bytes, int W>
struct Mask {
  static constexpr int lanes = native_lanes(bytes, W);
  static constexpr int count = W / lanes;
  typename NativeMask<bytes, lanes>::type v[count];

#define PMP_MASK_BINARY(op)                            \
  friend PMP_INLINE Mask operator op(Mask a, Mask b) { \
    Mask r;                                            \
    PMP_PARTS(r.v[i] = a.v[i] op b.v[i]);              \
    return r;                                          \
  }
  PMP_MASK_BINARY(&)
  PMP_MASK_BINARY(|)
#undef PMP_MASK_BINARY

  friend PMP_INLINE Mask operator!(Mask a) {
    Mask r;
    PMP_PARTS(r.v[i] = a.v[i] == 0);
    return r;
  }

  friend PMP_INLINE bool any(Mask a) {
    auto joined = a.v[0];
    PMP_UNROLL
    for (int i = 1; i < count; ++i) joined = joined | a.v[i];
    return native::any(joined);
  }
  friend PMP_INLINE bool all(Mask a) { return !any(!a); }
};

template <class T, int W>
struct Pack {
  using Scalar = T;
  static constexpr int width = W;
  static constexpr int lanes = native_lanes(sizeof(T), W);
  static constexpr int count = W / lanes;
  using Vector = typename Native<T, lanes>::type;
  using Mask = pontryagin::Mask<int(sizeof(T)), W>;
  using Bits = Pack<typename BitsOfSize<int(sizeof(T))>::type, W>;

  Vector v[count];

  Pack() = default;
  PMP_INLINE Pack(T s) { PMP_PARTS(v[i] = native::broadcast<Vector>(s)); }

  // p is aligned to sizeof(Vector).
  static PMP_INLINE Pack load(const T* p) {
    Pack r;
    PMP_PARTS(native::load(p + i * lanes, r.v[i]));
    return r;
  }
  PMP_INLINE void store(T* p) const { PMP_PARTS(native::store(v[i], p + i * lanes)); }

#define PMP_BINARY(op)                                 \
  friend PMP_INLINE Pack operator op(Pack a, Pack b) { \
    Pack r;                                            \
    PMP_PARTS(r.v[i] = a.v[i] op b.v[i]);              \
    return r;                                          \
  }
  PMP_BINARY(+)
  PMP_BINARY(-)
  PMP_BINARY(*)
  PMP_BINARY(/)
  PMP_BINARY(&)  // these three on integer lanes
  PMP_BINARY(|)
  PMP_BINARY(^)
#undef PMP_BINARY

#define PMP_COMPARE(op)                                \
  friend PMP_INLINE Mask operator op(Pack a, Pack b) { \
    Mask r;                                            \
    PMP_PARTS(r.v[i] = a.v[i] op b.v[i]);              \
    return r;                                          \
  }
  PMP_COMPARE(<)
  PMP_COMPARE(<=)
  PMP_COMPARE(>)
  PMP_COMPARE(>=)
  PMP_COMPARE(==)
  PMP_COMPARE(!=)
#undef PMP_COMPARE

#define PMP_UNARY(name, expression)     \
  friend PMP_INLINE Pack name(Pack a) { \
    Pack r;                             \
    PMP_PARTS(r.v[i] = expression);     \
    return r;                           \
  }
  PMP_UNARY(operator-, -a.v[i])
  PMP_UNARY(abs, native::abs(a.v[i]))
  PMP_UNARY(sqrt, native::sqrt(a.v[i]))
  PMP_UNARY(floor, native::floor(a.v[i]))
  PMP_UNARY(ceil, native::ceil(a.v[i]))
  PMP_UNARY(round, native::round(a.v[i]))  // half to even
  PMP_UNARY(trunc, native::trunc(a.v[i]))
#undef PMP_UNARY

#define PMP_TERNARY(name)                                     \
  friend PMP_INLINE Pack name(Pack a, Pack b, Pack c) {       \
    Pack r;                                                   \
    PMP_PARTS(r.v[i] = native::name(a.v[i], b.v[i], c.v[i])); \
    return r;                                                 \
  }
  PMP_TERNARY(fma)   // a b + c
  PMP_TERNARY(fms)   // a b - c
  PMP_TERNARY(fnma)  // c - a b
#undef PMP_TERNARY

  // Shifts of integer lanes.
  friend PMP_INLINE Pack operator<<(Pack a, int n) {
    Pack r;
    PMP_PARTS(r.v[i] = a.v[i] << n);
    return r;
  }
  friend PMP_INLINE Pack operator>>(Pack a, int n) {
    Pack r;
    PMP_PARTS(r.v[i] = a.v[i] >> n);
    return r;
  }

  // The size of a with the sign of b.
  friend PMP_INLINE Pack copysign(Pack a, Pack b) {
    Pack r;
    PMP_PARTS(r.v[i] = native::copysign(a.v[i], b.v[i]));
    return r;
  }

  friend PMP_INLINE Pack select(Mask m, Pack a, Pack b) {
    Pack r;
    PMP_PARTS(r.v[i] = m.v[i] ? a.v[i] : b.v[i]);
    return r;
  }

#if !PMP_CUDA
  friend PMP_INLINE bool all_within(Pack a, Pack limit) {
    bool within = true;
    PMP_PARTS(within = within & native::all_within(a.v[i], limit.v[i]));
    return within;
  }
  // `set` where the bit is set, else `clear`.
  friend PMP_INLINE Pack choose(Bits bits, Bits bit, Pack set, Pack clear) {
    Pack r;
    PMP_PARTS(r.v[i] = native::choose(bits.v[i], bit.v[i], set.v[i], clear.v[i]));
    return r;
  }
#endif

  // As in torch: not a number if either is, the first of equals (-0 and 0 are equal).
  friend PMP_INLINE Pack min(Pack a, Pack b) { return select(b != b, b, select(b < a, b, a)); }
  friend PMP_INLINE Pack max(Pack a, Pack b) { return select(b != b, b, select(b > a, b, a)); }

  // As in torch: 0 for both zeros and for not a number.
  friend PMP_INLINE Pack sign(Pack a) {
    const Pack zero(0), one(1);
    return select(a > zero, one, select(a < zero, -one, zero));
  }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
