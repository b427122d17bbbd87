// The sweep: the state equation forward in time, the end, the costate equation backward.
//
// The way back needs the cut of every step. A tape holds the cuts of `segment` steps. Where that is less than the whole
// horizon, the state is kept at the start of each segment, and the cuts of all segments but the last are made again, one
// segment at a time (checkpointing in two levels; Griewank and Walther 2008, section 12.3).
//
// Executor concept: start(), forward(first, end, keep), finish(), resume(first), backward(first, end) over steps
// first..end-1. `keep` writes the cuts to the tape; `resume` goes back to the state at the start of a segment. The
// interpreter's executor runs programs recorded from step.hpp; that of a compiled Model calls step.hpp directly.
#pragma once

#include "macros.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class Executor>
PMP_HD void sweep(Executor& executor, int steps, int segment, bool backward) {
  const int last = (steps - 1) / segment * segment;
  executor.start();
  for (int first = 0; first <= last; first += segment)
    executor.forward(first, first < last ? first + segment : steps, backward && first == last);
  executor.finish();
  if (!backward) return;
  for (int first = last; first >= 0; first -= segment) {
    if (first < last) {
      executor.resume(first);
      executor.forward(first, first + segment, true);
    }
    executor.backward(first, first < last ? first + segment : steps);
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
