// Sweeps of multilayer perceptrons. Compiled once for each instruction set, in a namespace of its own (PMP_ISA).
#include "cpu/mlp_kernels.hpp"

#include "pontryagin/mlp_layered.hpp"
#include "pontryagin/mlp_narrow.hpp"
#include "pontryagin/mlp_sweep.hpp"

namespace pontryagin {
inline namespace PMP_ISA {

namespace {

template <class Field>
MlpKernel<typename Field::Real::Scalar> kernel() {
  return {Field::Real::width, MlpSweep<Field>::run, MlpSweep<Field>::workspace_bytes};
}

template <class T>
constexpr int register_lanes = native_bytes / static_cast<int>(sizeof(T));

// Registers of a pack: as many as leave the components of x and f in registers, too.
template <int D>
constexpr int narrow_registers = native_bytes == 64 ? (D <= 2 ? 4 : 2) : (D <= 2 ? 2 : 1);

template <class T, int D>
MlpKernelPair<T> narrow() {
  constexpr int lanes = register_lanes<T>;
  return {kernel<NarrowField<T, lanes, D>>(), kernel<NarrowField<T, narrow_registers<D> * lanes, D>>()};
}

template <class T>
MlpKernels<T> kernels() {
  constexpr int lanes = register_lanes<T>;
  return {{kernel<LayeredField<T, lanes>>(), kernel<LayeredField<T, 2 * lanes>>()},
          {narrow<T, 1>(), narrow<T, 2>(), narrow<T, 3>(), narrow<T, 4>()}};
}

}  // namespace

MlpKernelSet make_mlp_kernel_set() { return {kernels<double>(), kernels<float>()}; }

}  // namespace PMP_ISA

#define PMP_PASTE_(a, b) a##b
#define PMP_PASTE(a, b) PMP_PASTE_(a, b)
MlpKernelSet PMP_PASTE(mlp_kernel_set_, PMP_ISA)() { return PMP_ISA::make_mlp_kernel_set(); }

}  // namespace pontryagin
