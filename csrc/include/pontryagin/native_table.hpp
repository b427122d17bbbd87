// What a compiled library of one model hands over: plain data and function pointers.
#pragma once

#include "job.hpp"

namespace pontryagin {

// Raised whenever the structs that cross the border change: a library built with other headers is refused.
constexpr int native_border = 1;

// Sweeps of one number of lanes. `workspace` is aligned to 64 bytes and holds workspace_slots(job) numbers.
template <class T>
struct NativeKernel {
  int lanes;
  long (*workspace_slots)(const SweepJob<T>& job);
  void (*sweep)(const SweepJob<T>& job, long first, int count, void* workspace);
};

// A library holds kernels of one scalar type: for one problem, and for the lanes of a pack.
struct NativeTable {
  int border;      // native_border
  int float_bits;  // 32 or 64
  int n, m, q, nd, r;
  int control_nodes;    // K - N: 1 for a linear control
  const void* kernels;  // NativeKernel<T>[2]
};

}  // namespace pontryagin
