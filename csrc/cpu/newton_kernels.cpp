// Newton's method on tiles. Compiled once for each instruction set, in a namespace of its own (PMP_ISA).
#include "cpu/newton_kernels.hpp"

#include "pontryagin/newton_tile_kernel.hpp"

namespace pontryagin {

#define PMP_PASTE_(a, b) a##b
#define PMP_PASTE(a, b) PMP_PASTE_(a, b)
NewtonKernelSet PMP_PASTE(newton_kernel_set_, PMP_ISA)() { return PMP_ISA::newton_kernels(); }

}  // namespace pontryagin
