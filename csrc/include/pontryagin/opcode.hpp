// The operations that graph, recorder and interpreter agree on: one line each, (name, number of arguments).
//
// The first block may appear in a graph that Python hands over; `fma`, `fnma`, `fms`, `sincos` and `fma3`, `fnma3`, which
// add (a b) c to the accumulator or subtract it, are made by the assembler; `copy` moves a value to where an output is wanted; `halt` ends a program.
#pragma once

#define PMP_GRAPH_OPERATIONS(X) \
  X(neg, 1)                     \
  X(abs, 1)                     \
  X(sign, 1)                    \
  X(sqrt, 1)                    \
  X(reciprocal, 1)              \
  X(exp, 1)                     \
  X(expm1, 1)                   \
  X(log, 1)                     \
  X(log1p, 1)                   \
  X(sin, 1)                     \
  X(cos, 1)                     \
  X(tan, 1)                     \
  X(asin, 1)                    \
  X(acos, 1)                    \
  X(atan, 1)                    \
  X(sinh, 1)                    \
  X(cosh, 1)                    \
  X(tanh, 1)                    \
  X(asinh, 1)                   \
  X(acosh, 1)                   \
  X(atanh, 1)                   \
  X(erf, 1)                     \
  X(sigmoid, 1)                 \
  X(floor, 1)                   \
  X(ceil, 1)                    \
  X(round, 1)                   \
  X(trunc, 1)                   \
  X(add, 2)                     \
  X(sub, 2)                     \
  X(mul, 2)                     \
  X(div, 2)                     \
  X(pow, 2)                     \
  X(atan2, 2)                   \
  X(hypot, 2)                   \
  X(min, 2)                     \
  X(max, 2)                     \
  X(lt, 2)                      \
  X(le, 2)                      \
  X(eq, 2)                      \
  X(ne, 2)                      \
  X(where, 3)

#define PMP_OPERATIONS(X)  \
  PMP_GRAPH_OPERATIONS(X)  \
  X(fma, 3)  /* a b + c */ \
  X(fnma, 3) /* c - a b */ \
  X(fms, 3)  /* a b - c */ \
  X(fma3, 3)               \
  X(fnma3, 3)              \
  X(sincos, 1)             \
  X(copy, 1)               \
  X(halt, 0)

namespace pontryagin {

enum class Op : unsigned char {
#define X(name, arity) name,
  PMP_OPERATIONS(X)
#undef X
      count,
  constant = count,  // leaves of a recording; never executed
  input,
};

constexpr int op_count = static_cast<int>(Op::count);

constexpr int arity(Op op) {
  constexpr unsigned char table[] = {
#define X(name, arity) arity,
      PMP_OPERATIONS(X)
#undef X
          0,
      0};
  return table[static_cast<int>(op)];
}

}  // namespace pontryagin
