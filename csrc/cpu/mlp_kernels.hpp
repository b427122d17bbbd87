// What mlp_kernels.cpp offers for each instruction set: plain structs and function pointers only, as in kernels.hpp.
#pragma once

#include "pontryagin/mlp_job.hpp"

namespace pontryagin {

template <class T>
struct MlpKernel {
  int lanes = 0;
  void (*run)(const MlpJob<T>& job, const MlpPart<T>& part) = nullptr;
  long (*workspace_bytes)(const MlpJob<T>& job, bool own_tape) = nullptr;
};

// For few samples left over, and for many.
template <class T>
struct MlpKernelPair {
  MlpKernel<T> few, many;
};

template <class T>
struct MlpKernels {
  MlpKernelPair<T> layered, narrow[most_narrow_dim];  // narrow: by the dimension, from 1
};

struct MlpKernelSet {
  MlpKernels<double> f64;
  MlpKernels<float> f32;
};

// Of the instruction set that kernel_set() has chosen.
const MlpKernelSet& mlp_kernel_set();

}  // namespace pontryagin
