// What a compiled library hands over of the functions that Newton's method asks for: plain data and function pointers.
#pragma once

#include "math_calls.hpp"
#include "newton_problem.hpp"
#include "pack.hpp"

namespace pontryagin {

// Raised whenever what crosses the border changes: a library built with other headers is refused.
constexpr int newton_border = 6;

struct NewtonTable {
  int border;
  int rows;                                  // of arguments and results
  void (*call[point::count])(double* rows);  // for `newton_lanes` points
  void (*step_values)(const StepRows& rows);
  void (*step_derivatives)(const StepRows& rows);
  void (*two_step_values)(const StepRows& rows);
  void (*riccati_back)(const RiccatiRows& rows);
  void (*riccati_pull)(const RiccatiPullRows& rows);
  void (*riccati_move)(const RiccatiMoveRows& rows);
  void (*riccati_left)(const RiccatiLeftRows& rows);
  void (*riccati_end)(const RiccatiEndRows& rows);
};

inline namespace PMP_ISA {

// Arguments, and where results go.
template <class Real>
struct RowsIn {
  const double* rows;
  PMP_INLINE Real operator[](int i) const { return Real::load(rows + i * Real::width); }
};
// Arguments and results of several steps, whose rows lie so many numbers apart.
template <class Real>
struct StepsIn {
  using Part = Pack<typename Real::Scalar, newton_lanes>;
  const double* rows;
  long apart;
  PMP_INLINE Real operator[](int i) const {
    Real found;
    for (int step = 0; step < Real::width / newton_lanes; ++step) {
      const Part part = Part::load(rows + step * apart + i * newton_lanes);
      for (int j = 0; j < Part::count; ++j) found.v[step * Part::count + j] = part.v[j];
    }
    return found;
  }
};
template <class Real>
struct StepsOut {
  using Part = Pack<typename Real::Scalar, newton_lanes>;
  struct Row {
    double* at;
    long apart;
    PMP_INLINE void operator=(Real value) const {
      for (int step = 0; step < Real::width / newton_lanes; ++step) {
        Part part;
        for (int j = 0; j < Part::count; ++j) part.v[j] = value.v[step * Part::count + j];
        part.store(at + step * apart);
      }
    }
  };
  double* rows;
  long apart;
  PMP_INLINE Row operator[](int i) const { return {rows + i * newton_lanes, apart}; }
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
