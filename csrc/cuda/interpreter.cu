// Sweeps and Hamiltonians of any problem, its formulas data: compiled ahead of time for GPUs where NVRTC is not at hand.
//
// Compiled with --fmad=false: multiply-adds are fused where programs say so and nowhere else.
#include "pontryagin/device_interpreter.hpp"

using namespace pontryagin;

#define PMP_KERNELS(scalar)                                                                            \
  extern "C" __global__ void __launch_bounds__(64)                                                     \
      pontryagin_sweep_##scalar(const __grid_constant__ DeviceInterpreterJob<scalar> job) {            \
    DeviceInterpreter<scalar>::run(job, static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x, \
                                   static_cast<long long>(gridDim.x) * blockDim.x);                    \
  }                                                                                                    \
  extern "C" __global__ void __launch_bounds__(64)                                                     \
      pontryagin_points_##scalar(const __grid_constant__ DevicePointsJob<scalar> job) {                \
    hamiltonian_by_program(job, static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x,         \
                           static_cast<long long>(gridDim.x) * blockDim.x);                            \
  }

PMP_KERNELS(float)
PMP_KERNELS(double)
