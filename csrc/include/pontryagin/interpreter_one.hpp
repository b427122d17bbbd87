// The accumulator machine for a single problem.
//
// With one lane an instruction does so little that jumping to its handler and reading its offsets is most of its cost.
// So sums, differences, products and fused multiply-adds are mostly written as r = c + a b or r = c - a b, with 1 and -0
// for what is missing (which changes no bit), and two or three of them share one handler. Everything lies in one array: a window of it holds the
// records of the node at hand and of the next, and a result nobody wants in memory goes to a spare slot.
#pragma once

#include <cstddef>

#include "interpreter_types.hpp"
#include "macros.hpp"
#include "math.hpp"
#include "math_calls.hpp"
#include "opcode.hpp"
#include "pack.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class T>
struct MachineOne {
  using Real = Pack<T, 1>;

  // Offsets of an instruction's operands, read two at a time: loads are what one lane runs out of first.
  struct Offsets {
    explicit Offsets(const Linked& instruction) {
      static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first of two offsets is the lower half");
      static_assert(offsetof(Linked, b) == offsetof(Linked, a) + 4 && offsetof(Linked, to) == offsetof(Linked, c) + 4,
                    "offsets lie in twos");
      const char* const bytes = reinterpret_cast<const char*>(&instruction);
      UInt64 ab, ct;
      __builtin_memcpy(&ab, bytes + offsetof(Linked, a), sizeof ab);
      __builtin_memcpy(&ct, bytes + offsetof(Linked, c), sizeof ct);
      a = ab & 0xffffffffu, b = ab >> 32, c = ct & 0xffffffffu, to = ct >> 32;
    }
    UInt64 a, b, c, to;
  };

  // Runs `code` up to its halt. Without code it returns the table of handlers: one_lane::table_size of them.
  static const void* const* run(const Linked* code, char* const slots) {
// Row of the table for one kind of first operation: alone, then followed by each kind.
// clang-format off
#define PMP_KINDS(X, f)                                                                        \
  X(f, p0) X(f, p1) X(f, p2) X(f, p3) X(f, m0) X(f, m1) X(f, n0) X(f, n1) X(f, n2) X(f, n3)    \
  X(f, q0) X(f, q1) X(f, q2) X(f, q3) X(f, q4) X(f, q5) X(f, q6)
// clang-format on
#define PMP_ADDRESS_OF_PAIR(first, second) &&first##_##second,
#define PMP_ROW(first) &&first##_alone, PMP_KINDS(PMP_ADDRESS_OF_PAIR, first)
// Every sequence of three kinds that add.
#define PMP_LAST(X, f, s) X(f, s, p0) X(f, s, p1) X(f, s, p2) X(f, s, p3) X(f, s, m0) X(f, s, m1)
#define PMP_LAST_2(X, f) \
  PMP_LAST(X, f, p0) PMP_LAST(X, f, p1) PMP_LAST(X, f, p2) PMP_LAST(X, f, p3) PMP_LAST(X, f, m0) PMP_LAST(X, f, m1)
#define PMP_TRIPLES(X) \
  PMP_LAST_2(X, p0) PMP_LAST_2(X, p1) PMP_LAST_2(X, p2) PMP_LAST_2(X, p3) PMP_LAST_2(X, m0) PMP_LAST_2(X, m1)
#define PMP_ADDRESS_OF_TRIPLE(first, second, third) &&first##_##second##_##third,
#define PMP_UNARY_ROW(name) &&name##_0, &&name##_1, nullptr
#define PMP_BINARY_ROW(name) &&name##_0, &&name##_1, &&name##_2
#define PMP_ABSENT_ROW nullptr, nullptr, nullptr
    static const void* const table[] = {PMP_ROW(p0) PMP_ROW(p1) PMP_ROW(p2) PMP_ROW(p3) PMP_ROW(m0) PMP_ROW(m1)
                                            PMP_ROW(n0) PMP_ROW(n1) PMP_ROW(n2) PMP_ROW(n3) PMP_ROW(q0) PMP_ROW(q1)
                                                PMP_ROW(q2) PMP_ROW(q3) PMP_ROW(q4) PMP_ROW(q5) PMP_ROW(q6)
                                                    PMP_TRIPLES(PMP_ADDRESS_OF_TRIPLE) PMP_UNARY_ROW(neg),
                                        PMP_UNARY_ROW(abs),
                                        PMP_UNARY_ROW(sign),
                                        PMP_UNARY_ROW(sqrt),
                                        PMP_UNARY_ROW(reciprocal),
                                        PMP_UNARY_ROW(exp),
                                        PMP_UNARY_ROW(expm1),
                                        PMP_UNARY_ROW(log),
                                        PMP_UNARY_ROW(log1p),
                                        PMP_UNARY_ROW(sin),
                                        PMP_UNARY_ROW(cos),
                                        PMP_UNARY_ROW(tan),
                                        PMP_UNARY_ROW(asin),
                                        PMP_UNARY_ROW(acos),
                                        PMP_UNARY_ROW(atan),
                                        PMP_UNARY_ROW(sinh),
                                        PMP_UNARY_ROW(cosh),
                                        PMP_UNARY_ROW(tanh),
                                        PMP_UNARY_ROW(asinh),
                                        PMP_UNARY_ROW(acosh),
                                        PMP_UNARY_ROW(atanh),
                                        PMP_UNARY_ROW(erf),
                                        PMP_UNARY_ROW(sigmoid),
                                        PMP_UNARY_ROW(floor),
                                        PMP_UNARY_ROW(ceil),
                                        PMP_UNARY_ROW(round),
                                        PMP_UNARY_ROW(trunc),
                                        PMP_ABSENT_ROW,
                                        PMP_ABSENT_ROW,
                                        PMP_ABSENT_ROW,
                                        PMP_BINARY_ROW(div),
                                        PMP_BINARY_ROW(pow),
                                        PMP_BINARY_ROW(atan2),
                                        PMP_BINARY_ROW(hypot),
                                        PMP_BINARY_ROW(min),
                                        PMP_BINARY_ROW(max),
                                        PMP_BINARY_ROW(lt),
                                        PMP_BINARY_ROW(le),
                                        PMP_BINARY_ROW(eq),
                                        PMP_BINARY_ROW(ne),
                                        &&where_0,
                                        nullptr,
                                        nullptr,
                                        PMP_ABSENT_ROW,
                                        PMP_ABSENT_ROW,
                                        PMP_BINARY_ROW(fms),
                                        PMP_ABSENT_ROW,
                                        PMP_ABSENT_ROW,
                                        PMP_BINARY_ROW(sincos),
                                        PMP_UNARY_ROW(copy),
                                        &&halt,
                                        nullptr,
                                        nullptr};
    static_assert(sizeof table / sizeof *table == one_lane::table_size, "one row of handlers for each operation");
    if (code == nullptr) return table;

    const Linked* ip = code;
    Real acc(T(0)), prev(T(0));  // prev: what acc held before the last fused operation
    goto* const_cast<void*>(ip->handler);

#define PMP_AT(field) Real::load(reinterpret_cast<const T*>(slots + field))
#define PMP_PUT(field, value) (value).store(reinterpret_cast<T*>(slots + field))
#define PMP_NEXT(count) \
  ip += count;          \
  goto* const_cast<void*>(ip->handler);
// Where the accumulator stands: p0, m0, n0 nowhere, p1, m1, n1 as a, p2, n2 as c. p adds the product, n subtracts it, m
// is the product alone. p3 and n3 add and subtract three factors. q reads what the accumulator held before.
#define PMP_DO_p0 acc = fma(PMP_AT(at.a), PMP_AT(at.b), PMP_AT(at.c));
#define PMP_DO_p1 acc = fma(acc, PMP_AT(at.b), PMP_AT(at.c));
#define PMP_DO_p2 acc = fma(PMP_AT(at.a), PMP_AT(at.b), acc);
#define PMP_DO_m0 acc = PMP_AT(at.a) * PMP_AT(at.b);
#define PMP_DO_m1 acc = acc * PMP_AT(at.b);
#define PMP_DO_n0 acc = fnma(PMP_AT(at.a), PMP_AT(at.b), PMP_AT(at.c));
#define PMP_DO_n1 acc = fnma(acc, PMP_AT(at.b), PMP_AT(at.c));
#define PMP_DO_n2 acc = fnma(PMP_AT(at.a), PMP_AT(at.b), acc);
#define PMP_DO_p3 acc = fma(PMP_AT(at.a) * PMP_AT(at.b), PMP_AT(at.c), acc);
#define PMP_DO_n3 acc = fnma(PMP_AT(at.a) * PMP_AT(at.b), PMP_AT(at.c), acc);
#define PMP_DO_q0 acc = fma(acc, prev, PMP_AT(at.c));
#define PMP_DO_q1 acc = fma(acc, PMP_AT(at.b), prev);
#define PMP_DO_q2 acc = fma(PMP_AT(at.a), prev, acc);
#define PMP_DO_q3 acc = fma(PMP_AT(at.a), prev, PMP_AT(at.c));
#define PMP_DO_q4 acc = fma(PMP_AT(at.a) * PMP_AT(at.b), prev, acc);
#define PMP_DO_q5 acc = fma(PMP_AT(at.a) * prev, PMP_AT(at.c), acc);
#define PMP_DO_q6 acc = acc * acc;
#define PMP_STEP(kind, i)     \
  {                           \
    const Real was = acc;     \
    const Offsets at(ip[i]);  \
    PMP_DO_##kind prev = was; \
    PMP_PUT(at.to, acc);      \
  }
#define PMP_PAIR(first, second) first##_##second : {PMP_STEP(first, 0) PMP_STEP(second, 1)} PMP_NEXT(2)
#define PMP_TRIPLE(first, second, third) \
  first##_##second##_##third : {PMP_STEP(first, 0) PMP_STEP(second, 1) PMP_STEP(third, 2)} PMP_NEXT(3)
#define PMP_FIRST(first) first##_alone : {PMP_STEP(first, 0)} PMP_NEXT(1) PMP_KINDS(PMP_PAIR, first)
#define PMP_OPERATION(label, load, expression) \
  label: {                                     \
    load prev = acc = expression;              \
    PMP_PUT(ip->to, acc);                      \
  }                                            \
  PMP_NEXT(1)
#define PMP_UNARY(name, expression)                                  \
  PMP_OPERATION(name##_0, const Real a = PMP_AT(ip->a);, expression) \
  PMP_OPERATION(name##_1, const Real a = acc;, expression)
#define PMP_BINARY(name, expression)                                                               \
  PMP_OPERATION(name##_0, const Real a = PMP_AT(ip->a); const Real b = PMP_AT(ip->b);, expression) \
  PMP_OPERATION(name##_1, const Real a = acc; const Real b = PMP_AT(ip->b);, expression)           \
  PMP_OPERATION(name##_2, const Real a = PMP_AT(ip->a); const Real b = acc;, expression)

    PMP_FIRST(p0)
    PMP_FIRST(p1)
    PMP_FIRST(p2)
    PMP_FIRST(p3)
    PMP_FIRST(m0)
    PMP_FIRST(m1)
    PMP_FIRST(n0)
    PMP_FIRST(n1)
    PMP_FIRST(n2)
    PMP_FIRST(n3)
    PMP_FIRST(q0)
    PMP_FIRST(q1)
    PMP_FIRST(q2)
    PMP_FIRST(q3)
    PMP_FIRST(q4)
    PMP_FIRST(q5)
    PMP_FIRST(q6)
    PMP_TRIPLES(PMP_TRIPLE)
    PMP_UNARY(neg, -a)
    PMP_UNARY(abs, abs(a))
    PMP_UNARY(sign, sign(a))
    PMP_UNARY(sqrt, sqrt(a))
    PMP_UNARY(reciprocal, Real(T(1)) / a)
    PMP_UNARY(exp, calls::exp_of(a))
    PMP_UNARY(expm1, calls::expm1_of(a))
    PMP_UNARY(log, calls::log_of(a))
    PMP_UNARY(log1p, calls::log1p_of(a))
    PMP_UNARY(sin, calls::sin_of(a))
    PMP_UNARY(cos, calls::cos_of(a))
    PMP_UNARY(tan, calls::tan_of(a))
    PMP_UNARY(asin, calls::asin_of(a))
    PMP_UNARY(acos, calls::acos_of(a))
    PMP_UNARY(atan, calls::atan_of(a))
    PMP_UNARY(sinh, calls::sinh_of(a))
    PMP_UNARY(cosh, calls::cosh_of(a))
    PMP_UNARY(tanh, calls::tanh_of(a))
    PMP_UNARY(asinh, calls::asinh_of(a))
    PMP_UNARY(acosh, calls::acosh_of(a))
    PMP_UNARY(atanh, calls::atanh_of(a))
    PMP_UNARY(erf, calls::erf_of(a))
    PMP_UNARY(sigmoid, calls::sigmoid_of(a))
    PMP_UNARY(floor, floor(a))
    PMP_UNARY(ceil, ceil(a))
    PMP_UNARY(round, round(a))
    PMP_UNARY(trunc, trunc(a))
    PMP_UNARY(copy, a)
    PMP_BINARY(div, a / b)
    PMP_BINARY(pow, calls::pow_of(a, b))
    PMP_BINARY(atan2, calls::atan2_of(a, b))
    PMP_BINARY(hypot, calls::hypot_of(a, b))
    PMP_BINARY(min, min(a, b))
    PMP_BINARY(max, max(a, b))
    PMP_BINARY(lt, select(a < b, Real(T(1)), Real(T(0))))
    PMP_BINARY(le, select(a <= b, Real(T(1)), Real(T(0))))
    PMP_BINARY(eq, select(a == b, Real(T(1)), Real(T(0))))
    PMP_BINARY(ne, select(a != b, Real(T(1)), Real(T(0))))
    PMP_OPERATION(fms_0, , fms(PMP_AT(ip->a), PMP_AT(ip->b), PMP_AT(ip->c)))
    PMP_OPERATION(fms_1, , fms(acc, PMP_AT(ip->b), PMP_AT(ip->c)))
    PMP_OPERATION(fms_2, , fms(PMP_AT(ip->a), PMP_AT(ip->b), acc))
    PMP_OPERATION(where_0, , select(PMP_AT(ip->a) != Real(T(0)), PMP_AT(ip->b), PMP_AT(ip->c)))
  sincos_2:  // of what the accumulator held before
    acc = prev;
    goto sincos_1;
  sincos_0:
    acc = PMP_AT(ip->a);
  sincos_1: {
    const auto both = calls::sincos_of<Real>(acc);
    PMP_PUT(ip->c, both.cosine);
    prev = acc = both.sine;
    PMP_PUT(ip->to, acc);
  }
    PMP_NEXT(1)
  halt:
    return nullptr;
  }
};

#undef PMP_KINDS
#undef PMP_ADDRESS_OF_PAIR
#undef PMP_ROW
#undef PMP_UNARY_ROW
#undef PMP_BINARY_ROW
#undef PMP_ABSENT_ROW
#undef PMP_AT
#undef PMP_PUT
#undef PMP_NEXT
#undef PMP_DO_p0
#undef PMP_DO_p1
#undef PMP_DO_p2
#undef PMP_DO_m0
#undef PMP_DO_m1
#undef PMP_DO_n0
#undef PMP_DO_n1
#undef PMP_DO_n2
#undef PMP_DO_p3
#undef PMP_DO_n3
#undef PMP_DO_q0
#undef PMP_DO_q1
#undef PMP_DO_q2
#undef PMP_DO_q3
#undef PMP_DO_q4
#undef PMP_DO_q5
#undef PMP_DO_q6
#undef PMP_STEP
#undef PMP_PAIR
#undef PMP_TRIPLE
#undef PMP_LAST
#undef PMP_LAST_2
#undef PMP_TRIPLES
#undef PMP_ADDRESS_OF_TRIPLE
#undef PMP_FIRST
#undef PMP_OPERATION
#undef PMP_UNARY
#undef PMP_BINARY

}  // namespace PMP_ISA
}  // namespace pontryagin
