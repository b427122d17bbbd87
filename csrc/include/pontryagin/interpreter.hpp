// The accumulator machine that runs assembled programs on a pack of lanes.
//
// Threaded code: every instruction carries the address of its handler. A value used by the next instruction only stays
// in the accumulator, which the compiler keeps in registers. The common arithmetic has a handler for each combination
// of where operands come from and where the result goes, because working that out costs as much as the arithmetic.
#pragma once

#include "interpreter_types.hpp"
#include "macros.hpp"
#include "math_calls.hpp"
#include "opcode.hpp"
#include "pack.hpp"

namespace pontryagin {

inline namespace PMP_ISA {
template <class Real>
struct Machine {
  using T = typename Real::Scalar;

  // Runs `code` up to its halt. Without code it returns the table of handlers, [operation][variant].
  static const void* const* run(const Linked* code, char* const fixed, char* const record) {
// Rows of the table, in the order of interpreter_types.hpp.
#define PMP_NONE_6 nullptr, nullptr, nullptr, nullptr, nullptr, nullptr
#define PMP_NONE_18 PMP_NONE_6, PMP_NONE_6, PMP_NONE_6
#define PMP_GENERAL(name) &&name##_0, &&name##_0s, &&name##_1, &&name##_1s, &&name##_2, &&name##_2s
#define PMP_THREE(name) &&name, &&name##_f, &&name##_r
#define PMP_ROW_HOT(name)                                                                                    \
  PMP_GENERAL(name), PMP_THREE(name##_0f), PMP_THREE(name##_0r), PMP_THREE(name##_1f), PMP_THREE(name##_1r), \
      PMP_THREE(name##_2f), PMP_THREE(name##_2r)
#define PMP_NONE_3 nullptr, nullptr, nullptr
#define PMP_ROW_SUM(name) PMP_ROW_HOT(name), PMP_NONE_18, PMP_NONE_18
#define PMP_LATTER(name) PMP_THREE(name##_b2), PMP_THREE(name##_b3), PMP_THREE(name##_b4)
#define PMP_ROW_PRODUCT(name)                                                                                     \
  PMP_ROW_HOT(name), PMP_THREE(name##_k0f), PMP_THREE(name##_k0r), PMP_THREE(name##_k1f), PMP_NONE_3, PMP_NONE_6, \
      PMP_NONE_6, PMP_LATTER(name), PMP_NONE_3
#define PMP_ROW_FUSED(name)                                                                                       \
  PMP_ROW_HOT(name), PMP_THREE(name##_k0f), PMP_THREE(name##_k0r), PMP_THREE(name##_k1f), PMP_NONE_3,             \
      PMP_THREE(name##_k2f), PMP_THREE(name##_k2r), PMP_THREE(name##_b0), PMP_THREE(name##_b1), PMP_LATTER(name), \
      PMP_THREE(name##_b5)
#define PMP_NONE_12 PMP_NONE_6, PMP_NONE_6
#define PMP_ROW_TRIPLE(name)                                                                                \
  &&name##_0, &&name##_0s, nullptr, nullptr, nullptr, nullptr, PMP_THREE(name##_0f), PMP_THREE(name##_0r),  \
      PMP_NONE_12, PMP_THREE(name##_k0f), PMP_THREE(name##_k0r), PMP_NONE_12, PMP_NONE_6, PMP_LATTER(name), \
      PMP_THREE(name##_b5)
#define PMP_NONE_54 PMP_NONE_18, PMP_NONE_18, PMP_NONE_18
#define PMP_ROW_BINARY(name) PMP_GENERAL(name), PMP_NONE_54
#define PMP_ROW_UNARY(name) &&name##_0, &&name##_0s, &&name##_1, &&name##_1s, nullptr, nullptr, PMP_NONE_54
#define PMP_ROW_PAIR(name) nullptr, &&name##_0s, nullptr, &&name##_1s, nullptr, nullptr, PMP_NONE_54
    static const void* const table[] = {PMP_ROW_UNARY(neg),
                                        PMP_ROW_UNARY(abs),
                                        PMP_ROW_UNARY(sign),
                                        PMP_ROW_UNARY(sqrt),
                                        PMP_ROW_UNARY(reciprocal),
                                        PMP_ROW_UNARY(exp),
                                        PMP_ROW_UNARY(expm1),
                                        PMP_ROW_UNARY(log),
                                        PMP_ROW_UNARY(log1p),
                                        PMP_ROW_UNARY(sin),
                                        PMP_ROW_UNARY(cos),
                                        PMP_ROW_UNARY(tan),
                                        PMP_ROW_UNARY(asin),
                                        PMP_ROW_UNARY(acos),
                                        PMP_ROW_UNARY(atan),
                                        PMP_ROW_UNARY(sinh),
                                        PMP_ROW_UNARY(cosh),
                                        PMP_ROW_UNARY(tanh),
                                        PMP_ROW_UNARY(asinh),
                                        PMP_ROW_UNARY(acosh),
                                        PMP_ROW_UNARY(atanh),
                                        PMP_ROW_UNARY(erf),
                                        PMP_ROW_UNARY(sigmoid),
                                        PMP_ROW_UNARY(floor),
                                        PMP_ROW_UNARY(ceil),
                                        PMP_ROW_UNARY(round),
                                        PMP_ROW_UNARY(trunc),
                                        PMP_ROW_SUM(add),
                                        PMP_ROW_SUM(sub),
                                        PMP_ROW_PRODUCT(mul),
                                        PMP_ROW_BINARY(div),
                                        PMP_ROW_BINARY(pow),
                                        PMP_ROW_BINARY(atan2),
                                        PMP_ROW_BINARY(hypot),
                                        PMP_ROW_BINARY(min),
                                        PMP_ROW_BINARY(max),
                                        PMP_ROW_BINARY(lt),
                                        PMP_ROW_BINARY(le),
                                        PMP_ROW_BINARY(eq),
                                        PMP_ROW_BINARY(ne),
                                        &&where_0,
                                        &&where_0s,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        PMP_NONE_54,
                                        PMP_ROW_FUSED(fma),
                                        PMP_ROW_FUSED(fnma),
                                        PMP_ROW_SUM(fms),
                                        PMP_ROW_TRIPLE(fma3),
                                        PMP_ROW_TRIPLE(fnma3),
                                        PMP_ROW_PAIR(sincos),
                                        PMP_ROW_PAIR(copy),
                                        &&halt,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        PMP_NONE_54};
    static_assert(sizeof table / sizeof *table == op_count * variants, "one row of handlers for each operation");
    if (code == nullptr) return table;

    const Linked* ip = code;
    char* const banks[2] = {fixed, record - 1};  // the bank bit of an operand is part of its offset
    Real acc(T(0)), prev(T(0));
    goto* const_cast<void*>(ip->handler);

#define PMP_NEXT \
  ++ip;          \
  goto* const_cast<void*>(ip->handler);
#define PMP_AT(address) Real::load(reinterpret_cast<const T*>(address))
#define PMP_PUT(address) acc.store(reinterpret_cast<T*>(address))
#define PMP_ANY(field) (banks[ip->field & 1] + ip->field)

// In the expressions of the operations below, a, b and c name the operands.
#define PMP_SET(expression) \
  const Real was = acc;     \
  acc = expression;         \
  prev = was;
#define PMP_KEEP_OR_STORE(label, load, expression)              \
  label: { load PMP_SET(expression) }                           \
  PMP_NEXT                                                      \
  label##s : { load PMP_SET(expression) PMP_PUT(PMP_ANY(to)); } \
  PMP_NEXT
// What is called may use every register: the value before is not kept.
#define PMP_KEEP_OR_STORE_CALLED(label, load, expression) \
  label: { load prev = acc = expression; }                \
  PMP_NEXT                                                \
  label##s : {                                            \
    load prev = acc = expression;                         \
    PMP_PUT(PMP_ANY(to));                                 \
  }                                                       \
  PMP_NEXT
#define PMP_GENERAL_UNARY(name, expression)                                          \
  PMP_KEEP_OR_STORE_CALLED(name##_0, const Real a = PMP_AT(PMP_ANY(a));, expression) \
  PMP_KEEP_OR_STORE_CALLED(name##_1, const Real a = acc;, expression)
#define PMP_GENERAL_BINARY(name, expression)                                                                     \
  PMP_KEEP_OR_STORE(name##_0, const Real a = PMP_AT(PMP_ANY(a)); const Real b = PMP_AT(PMP_ANY(b));, expression) \
  PMP_KEEP_OR_STORE(name##_1, const Real a = acc; const Real b = PMP_AT(PMP_ANY(b));, expression)                \
  PMP_KEEP_OR_STORE(name##_2, const Real a = PMP_AT(PMP_ANY(a)); const Real b = acc;, expression)
#define PMP_CALLED_BINARY(name, expression)                                                                \
  PMP_KEEP_OR_STORE_CALLED(name##_0, const Real a = PMP_AT(PMP_ANY(a)); const Real b = PMP_AT(PMP_ANY(b)); \
                           , expression)                                                                   \
  PMP_KEEP_OR_STORE_CALLED(name##_1, const Real a = acc; const Real b = PMP_AT(PMP_ANY(b));, expression)   \
  PMP_KEEP_OR_STORE_CALLED(name##_2, const Real a = PMP_AT(PMP_ANY(a)); const Real b = acc;, expression)
#define PMP_GENERAL_FUSED(name, expression)                                                         \
  PMP_KEEP_OR_STORE(name##_0, const Real a = PMP_AT(PMP_ANY(a)); const Real b = PMP_AT(PMP_ANY(b)); \
                    const Real c = PMP_AT(PMP_ANY(c));, expression)                                 \
  PMP_KEEP_OR_STORE(name##_1, const Real a = acc; const Real b = PMP_AT(PMP_ANY(b));                \
                    const Real c = PMP_AT(PMP_ANY(c));, expression)                                 \
  PMP_KEEP_OR_STORE(name##_2, const Real a = PMP_AT(PMP_ANY(a)); const Real b = PMP_AT(PMP_ANY(b)); \
                    const Real c = acc;, expression)
#define PMP_DIRECT(label, load, expression)                          \
  label: { load PMP_SET(expression) }                                \
  PMP_NEXT                                                           \
  label##_f : { load PMP_SET(expression) PMP_PUT(fixed + ip->to); }  \
  PMP_NEXT                                                           \
  label##_r : { load PMP_SET(expression) PMP_PUT(record + ip->to); } \
  PMP_NEXT
#define PMP_FROM(field, bank) const Real field = PMP_AT(bank + ip->field);
#define PMP_HOT_BINARY(name, expression)                                     \
  PMP_GENERAL_BINARY(name, expression)                                       \
  PMP_DIRECT(name##_0f, PMP_FROM(a, fixed) PMP_FROM(b, fixed), expression)   \
  PMP_DIRECT(name##_0r, PMP_FROM(a, record) PMP_FROM(b, fixed), expression)  \
  PMP_DIRECT(name##_1f, const Real a = acc; PMP_FROM(b, fixed), expression)  \
  PMP_DIRECT(name##_1r, const Real a = acc; PMP_FROM(b, record), expression) \
  PMP_DIRECT(name##_2f, PMP_FROM(a, fixed) const Real b = acc;, expression)  \
  PMP_DIRECT(name##_2r, PMP_FROM(a, record) const Real b = acc;, expression)
#define PMP_HOT_FUSED(name, expression)                                                         \
  PMP_GENERAL_FUSED(name, expression)                                                           \
  PMP_DIRECT(name##_0f, PMP_FROM(a, fixed) PMP_FROM(b, fixed) PMP_FROM(c, fixed), expression)   \
  PMP_DIRECT(name##_0r, PMP_FROM(a, record) PMP_FROM(b, fixed) PMP_FROM(c, fixed), expression)  \
  PMP_DIRECT(name##_1f, const Real a = acc; PMP_FROM(b, fixed) PMP_FROM(c, fixed), expression)  \
  PMP_DIRECT(name##_1r, const Real a = acc; PMP_FROM(b, record) PMP_FROM(c, fixed), expression) \
  PMP_DIRECT(name##_2f, PMP_FROM(a, fixed) PMP_FROM(b, fixed) const Real c = acc;, expression)  \
  PMP_DIRECT(name##_2r, PMP_FROM(a, record) PMP_FROM(b, fixed) const Real c = acc;, expression)

// b is the first lane of a constant.
#define PMP_SCALAR const Real b(*reinterpret_cast<const T*>(fixed + ip->b));
#define PMP_SCALED_PRODUCT(name, expression)                         \
  PMP_DIRECT(name##_k0f, PMP_FROM(a, fixed) PMP_SCALAR, expression)  \
  PMP_DIRECT(name##_k0r, PMP_FROM(a, record) PMP_SCALAR, expression) \
  PMP_DIRECT(name##_k1f, const Real a = acc; PMP_SCALAR, expression)
#define PMP_SCALED_FUSED(name, expression)                                              \
  PMP_DIRECT(name##_k0f, PMP_FROM(a, fixed) PMP_SCALAR PMP_FROM(c, fixed), expression)  \
  PMP_DIRECT(name##_k0r, PMP_FROM(a, record) PMP_SCALAR PMP_FROM(c, fixed), expression) \
  PMP_DIRECT(name##_k1f, const Real a = acc; PMP_SCALAR PMP_FROM(c, fixed), expression) \
  PMP_DIRECT(name##_k2f, PMP_FROM(a, fixed) PMP_SCALAR const Real c = acc;, expression) \
  PMP_DIRECT(name##_k2r, PMP_FROM(a, record) PMP_SCALAR const Real c = acc;, expression)

// The accumulator is the summand.
#define PMP_TRIPLE(name, expression)                                                                \
  PMP_KEEP_OR_STORE(name##_0, const Real a = PMP_AT(PMP_ANY(a)); const Real b = PMP_AT(PMP_ANY(b)); \
                    const Real c = PMP_AT(PMP_ANY(c));, expression)                                 \
  PMP_DIRECT(name##_0f, PMP_FROM(a, fixed) PMP_FROM(b, fixed) PMP_FROM(c, fixed), expression)       \
  PMP_DIRECT(name##_0r, PMP_FROM(a, record) PMP_FROM(b, fixed) PMP_FROM(c, fixed), expression)      \
  PMP_DIRECT(name##_k0f, PMP_FROM(a, fixed) PMP_SCALAR PMP_FROM(c, fixed), expression)              \
  PMP_DIRECT(name##_k0r, PMP_FROM(a, record) PMP_SCALAR PMP_FROM(c, fixed), expression)

// One operand is what the accumulator held before.
#define PMP_PREVIOUS_PRODUCT(name, expression)                                \
  PMP_DIRECT(name##_b2, PMP_FROM(a, fixed) const Real b = prev;, expression)  \
  PMP_DIRECT(name##_b3, PMP_FROM(a, record) const Real b = prev;, expression) \
  PMP_DIRECT(name##_b4, const Real a = acc; const Real b = prev;, expression)
#define PMP_PREVIOUS_FUSED(name, expression)                                                      \
  PMP_DIRECT(name##_b0, const Real a = acc; PMP_FROM(b, fixed) const Real c = prev;, expression)  \
  PMP_DIRECT(name##_b1, const Real a = acc; PMP_SCALAR const Real c = prev;, expression)          \
  PMP_DIRECT(name##_b2, PMP_FROM(a, fixed) const Real b = prev; const Real c = acc;, expression)  \
  PMP_DIRECT(name##_b3, PMP_FROM(a, record) const Real b = prev; const Real c = acc;, expression) \
  PMP_DIRECT(name##_b4, PMP_FROM(a, fixed) const Real b = prev; PMP_FROM(c, fixed), expression)   \
  PMP_DIRECT(name##_b5, PMP_FROM(a, fixed) const Real b = prev; PMP_FROM(c, record), expression)
#define PMP_PREVIOUS_TRIPLE(name, expression)                                                    \
  PMP_DIRECT(name##_b2, PMP_FROM(a, fixed) PMP_FROM(b, fixed) const Real c = prev;, expression)  \
  PMP_DIRECT(name##_b3, PMP_FROM(a, record) PMP_FROM(b, fixed) const Real c = prev;, expression) \
  PMP_DIRECT(name##_b4, PMP_FROM(a, fixed) PMP_SCALAR const Real c = prev;, expression)          \
  PMP_DIRECT(name##_b5, PMP_FROM(a, record) PMP_SCALAR const Real c = prev;, expression)

    PMP_GENERAL_UNARY(neg, -a)
    PMP_GENERAL_UNARY(abs, abs(a))
    PMP_GENERAL_UNARY(sign, sign(a))
    PMP_GENERAL_UNARY(sqrt, sqrt(a))
    PMP_GENERAL_UNARY(reciprocal, Real(T(1)) / a)
    PMP_GENERAL_UNARY(floor, floor(a))
    PMP_GENERAL_UNARY(ceil, ceil(a))
    PMP_GENERAL_UNARY(round, round(a))
    PMP_GENERAL_UNARY(trunc, trunc(a))
    PMP_HOT_BINARY(add, a + b)
    PMP_HOT_BINARY(sub, a - b)
    PMP_HOT_BINARY(mul, a * b)
    PMP_SCALED_PRODUCT(mul, a * b)
    PMP_PREVIOUS_PRODUCT(mul, a * b)
    PMP_GENERAL_BINARY(div, a / b)
    PMP_GENERAL_BINARY(min, min(a, b))
    PMP_GENERAL_BINARY(max, max(a, b))
    PMP_GENERAL_BINARY(lt, select(a < b, Real(T(1)), Real(T(0))))
    PMP_GENERAL_BINARY(le, select(a <= b, Real(T(1)), Real(T(0))))
    PMP_GENERAL_BINARY(eq, select(a == b, Real(T(1)), Real(T(0))))
    PMP_GENERAL_BINARY(ne, select(a != b, Real(T(1)), Real(T(0))))
    PMP_HOT_FUSED(fma, fma(a, b, c))
    PMP_SCALED_FUSED(fma, fma(a, b, c))
    PMP_PREVIOUS_FUSED(fma, fma(a, b, c))
    PMP_HOT_FUSED(fnma, fnma(a, b, c))
    PMP_SCALED_FUSED(fnma, fnma(a, b, c))
    PMP_PREVIOUS_FUSED(fnma, fnma(a, b, c))
    PMP_HOT_FUSED(fms, fms(a, b, c))
    PMP_TRIPLE(fma3, fma(a * b, c, acc))
    PMP_PREVIOUS_TRIPLE(fma3, fma(a * b, c, acc))
    PMP_TRIPLE(fnma3, fnma(a * b, c, acc))
    PMP_PREVIOUS_TRIPLE(fnma3, fnma(a * b, c, acc))
    PMP_KEEP_OR_STORE_CALLED(where_0, ,
                             select(PMP_AT(PMP_ANY(a)) != Real(T(0)), PMP_AT(PMP_ANY(b)), PMP_AT(PMP_ANY(c))))
    PMP_GENERAL_UNARY(exp, calls::exp_of(a))
    PMP_GENERAL_UNARY(expm1, calls::expm1_of(a))
    PMP_GENERAL_UNARY(log, calls::log_of(a))
    PMP_GENERAL_UNARY(log1p, calls::log1p_of(a))
    PMP_GENERAL_UNARY(sin, calls::sin_of(a))
    PMP_GENERAL_UNARY(cos, calls::cos_of(a))
    PMP_GENERAL_UNARY(tan, calls::tan_of(a))
    PMP_GENERAL_UNARY(asin, calls::asin_of(a))
    PMP_GENERAL_UNARY(acos, calls::acos_of(a))
    PMP_GENERAL_UNARY(atan, calls::atan_of(a))
    PMP_GENERAL_UNARY(sinh, calls::sinh_of(a))
    PMP_GENERAL_UNARY(cosh, calls::cosh_of(a))
    PMP_GENERAL_UNARY(tanh, calls::tanh_of(a))
    PMP_GENERAL_UNARY(asinh, calls::asinh_of(a))
    PMP_GENERAL_UNARY(acosh, calls::acosh_of(a))
    PMP_GENERAL_UNARY(atanh, calls::atanh_of(a))
    PMP_GENERAL_UNARY(erf, calls::erf_of(a))
    PMP_GENERAL_UNARY(sigmoid, calls::sigmoid_of(a))
    PMP_CALLED_BINARY(pow, calls::pow_of(a, b))
    PMP_CALLED_BINARY(atan2, calls::atan2_of(a, b))
    PMP_CALLED_BINARY(hypot, calls::hypot_of(a, b))
  sincos_0s:
  sincos_1s: {  // the angle is in memory, too
    T* const sine = reinterpret_cast<T*>(PMP_ANY(to));
    calls::sincos_at<Real>(reinterpret_cast<const T*>(PMP_ANY(a)), sine, reinterpret_cast<T*>(PMP_ANY(c)));
    prev = acc = Real::load(sine);
  }
    PMP_NEXT
  copy_0s:
    acc = PMP_AT(PMP_ANY(a));
  copy_1s:
    PMP_PUT(PMP_ANY(to));
    PMP_NEXT
  halt:
    return nullptr;
  }
};

#undef PMP_NONE_6
#undef PMP_NONE_18
#undef PMP_GENERAL
#undef PMP_THREE
#undef PMP_ROW_HOT
#undef PMP_NONE_3
#undef PMP_ROW_SUM
#undef PMP_ROW_PRODUCT
#undef PMP_ROW_FUSED
#undef PMP_NONE_12
#undef PMP_ROW_TRIPLE
#undef PMP_TRIPLE
#undef PMP_NONE_54
#undef PMP_ROW_BINARY
#undef PMP_ROW_UNARY
#undef PMP_ROW_PAIR
#undef PMP_NEXT
#undef PMP_AT
#undef PMP_PUT
#undef PMP_ANY
#undef PMP_SET
#undef PMP_KEEP_OR_STORE
#undef PMP_KEEP_OR_STORE_CALLED
#undef PMP_CALLED_BINARY
#undef PMP_LATTER
#undef PMP_PREVIOUS_PRODUCT
#undef PMP_PREVIOUS_FUSED
#undef PMP_PREVIOUS_TRIPLE
#undef PMP_GENERAL_UNARY
#undef PMP_GENERAL_BINARY
#undef PMP_GENERAL_FUSED
#undef PMP_DIRECT
#undef PMP_FROM
#undef PMP_HOT_BINARY
#undef PMP_HOT_FUSED
#undef PMP_SCALAR
#undef PMP_SCALED_PRODUCT
#undef PMP_SCALED_FUSED

}  // namespace PMP_ISA
}  // namespace pontryagin
