// Recorded programs in the words that GPUs read (pontryagin/device_program.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "pontryagin/device_program.hpp"
#include "recorder/assembler.hpp"

namespace pontryagin {

// The instructions of a program, its halt included. Throws std::length_error where a slot has no room in a word.
std::vector<DeviceInstruction> device_code(const Program& program);

}  // namespace pontryagin
