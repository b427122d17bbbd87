// The sweep: the state equation forward in time, the end, the costate equation backward.
//
// Executor concept: start(), forward(k), finish(), backward(k) for steps k = 0..N-1. The interpreter's executor runs
// programs recorded from step.hpp; an executor over a compiled Model calls step.hpp directly.
#pragma once

#include "macros.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

template <class Executor>
PMP_HD void sweep(Executor& executor, int steps, bool backward) {
  executor.start();
  for (int k = 0; k < steps; ++k) executor.forward(k);
  executor.finish();
  if (!backward) return;
  for (int k = steps; k-- > 0;) executor.backward(k);
}

}  // namespace PMP_ISA
}  // namespace pontryagin
