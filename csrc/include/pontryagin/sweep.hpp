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

// Each phase stands here once, so that an executor may be inlined: on a GPU the state of a thread stays in registers.
template <class Executor>
PMP_HD void sweep(Executor& executor, int steps, int segment, bool backward) {
  const int last = (steps - 1) / segment * segment;
  bool back = false;
  executor.start();
  for (int first = 0;; first += back ? -segment : segment) {
    if (back && first < last) executor.resume(first);
    const int end = first < last ? first + segment : steps;
    executor.forward(first, end, backward && (back || first == last));
    if (!back) {
      if (first < last) continue;
      executor.finish();
      if (!backward) return;
      back = true;
    }
    executor.backward(first, end);
    if (first == 0) return;
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
