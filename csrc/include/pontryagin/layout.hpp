// The one place that knows both layouts: arrays of the caller, [problem][node][component], and the store of a sweep,
// [node][component][lane].
#pragma once

#include "macros.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

// A block of the caller's array: `stride` scalars from one problem to the next, 0 where the problems share it.
// Lanes beyond `lanes` repeat the last problem, so that they cost nothing and raise nothing new.
template <class T, int W>
PMP_HD void gather(const T* source, long stride, int nodes, int components, int lanes, T* to, long node_stride) {
  for (int k = 0; k < nodes; ++k) {
    for (int c = 0; c < components; ++c) {
      const T* from = source + static_cast<long>(k) * components + c;
      T* row = to + k * node_stride + c * W;
      for (int lane = 0; lane < lanes; ++lane) row[lane] = from[lane * stride];
      for (int lane = lanes; lane < W; ++lane) row[lane] = row[lanes - 1];
    }
  }
}

template <class T, int W>
PMP_HD void scatter(const T* from, long node_stride, int nodes, int components, int lanes, T* target, long stride) {
  for (int k = 0; k < nodes; ++k) {
    for (int c = 0; c < components; ++c) {
      const T* row = from + k * node_stride + c * W;
      T* to = target + static_cast<long>(k) * components + c;
      for (int lane = 0; lane < lanes; ++lane) to[lane * stride] = row[lane];
    }
  }
}

// Adds the lanes, in order, to a target that the problems share.
template <class T, int W>
PMP_HD void reduce(const T* from, long node_stride, int nodes, int components, int lanes, T* target) {
  for (int k = 0; k < nodes; ++k) {
    for (int c = 0; c < components; ++c) {
      const T* row = from + k * node_stride + c * W;
      T sum = row[0];
      for (int lane = 1; lane < lanes; ++lane) sum += row[lane];
      target[static_cast<long>(k) * components + c] += sum;
    }
  }
}

}  // namespace PMP_ISA
}  // namespace pontryagin
