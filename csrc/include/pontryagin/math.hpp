// Elementary functions of packs, within 2 units in the last place over the whole range of double and float, the same
// bits for every W of one instruction set. On CUDA they are the device's own.
#pragma once

#include "math_exponential.hpp"
#include "math_inverse.hpp"
#include "math_library.hpp"
#include "math_logarithm.hpp"
#include "math_power.hpp"
#include "math_trigonometric.hpp"
