// What newton_kernels.cpp offers for each instruction set: plain structs and function pointers only, as in kernels.hpp.
#pragma once

#include "pontryagin/newton_kernel.hpp"

namespace pontryagin {

// Of the instruction set that kernel_set() has chosen.
const NewtonKernelSet& newton_kernel_set();

}  // namespace pontryagin
