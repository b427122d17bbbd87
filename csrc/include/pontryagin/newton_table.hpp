// What a compiled library hands over of the functions that Newton's method asks for: plain data and function pointers.
#pragma once

#include "math_calls.hpp"
#include "newton_problem.hpp"
#include "pack.hpp"

namespace pontryagin {

// Raised whenever what crosses the border changes: a library built with other headers is refused.
constexpr int newton_border = 4;

struct NewtonTable {
  int border;
  int rows;                                  // of arguments and results
  void (*call[point::count])(double* rows);  // for `newton_lanes` points
  void (*step_values)(const StepRows& rows);
  void (*step_derivatives)(const StepRows& rows);
  void (*riccati_back)(const RiccatiRows& rows);
  void (*riccati_end)(const RiccatiEndRows& rows);
};

inline namespace PMP_ISA {

// Arguments, and where results go.
template <class Real>
struct RowsIn {
  const double* rows;
  PMP_INLINE Real operator[](int i) const { return Real::load(rows + i * Real::width); }
};
template <class Real>
struct RowsOut {
  struct Row {
    double* at;
    PMP_INLINE void operator=(Real value) const { value.store(at); }
  };
  double* rows;
  PMP_INLINE Row operator[](int i) const { return {rows + i * Real::width}; }
};

}  // namespace PMP_ISA
}  // namespace pontryagin
