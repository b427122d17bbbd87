// From places to byte offsets and from operations to handlers: a program made ready for one kernel.
#pragma once

#include <vector>

#include "pontryagin/interpreter_types.hpp"
#include "recorder/assembler.hpp"

namespace pontryagin {

struct LinkTarget {
  const void* const* handlers;
  int lanes, scalar_bytes, fixed_slots, record_slots;
  int first_constant, constant_count;  // in the fixed bank
};

// For one lane, `parity` is that of the node at hand.
std::vector<Linked> link(const Program& program, const LinkTarget& target, int parity = 0);

// Slots that a block needs: the fixed bank, the records of all nodes and, for one lane, its window.
std::size_t block_slots(int lanes, int fixed_slots, int record_slots, long nodes);

}  // namespace pontryagin
