// Sweeps of any multilayer perceptron, its shape data: compiled ahead of time for GPUs where NVRTC is not at hand.
//
// Compiled with --fmad=false: multiply-adds are fused where fma is written and nowhere else.
#include "pontryagin/device_any_mlp.hpp"

using namespace pontryagin;

#define PMP_KERNELS(scalar)                                                          \
  extern "C" __global__ void __launch_bounds__(128, 1)                               \
      pontryagin_mlp_##scalar(const __grid_constant__ DeviceAnyMlpJob<scalar> job) { \
    sweep_any_tiles<16>(job, ThreadBlock<128>(), blockIdx.x, gridDim.x);             \
  }

PMP_KERNELS(float)
PMP_KERNELS(double)
