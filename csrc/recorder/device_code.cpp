#include "recorder/device_code.hpp"

#include <stdexcept>

namespace pontryagin {

namespace {

static_assert(static_cast<int>(Bank::fixed) == static_cast<int>(DeviceBank::fixed) &&
                  static_cast<int>(Bank::record) == static_cast<int>(DeviceBank::record) &&
                  static_cast<int>(Bank::next) == static_cast<int>(DeviceBank::next),
              "banks have the same numbers");

unsigned word(Place place) {
  if (place.slot < 0 || static_cast<unsigned>(place.slot) >= device_place::slots)
    throw std::length_error("the formulas of a step need more slots than an instruction can name");
  return device_place::place(static_cast<DeviceBank>(place.bank), static_cast<unsigned>(place.slot));
}

DeviceInstruction encoded(const Instruction& i) {
  const int count = arity(i.op);
  // fma3 and fnma3 have all three operands in memory, and the accumulator besides
  const int skipped = i.accumulator == Accumulator::none ? -1 : i.accumulator == Accumulator::first ? 0 : count - 1;
  const Place places[] = {i.a, i.b, i.c};
  unsigned words[3];
  for (int k = 0; k < 3; ++k) words[k] = k < count && k != skipped ? word(places[k]) : device_place::accumulator;
  if (i.op == Op::sincos) words[2] = word(i.c);
  return {device_place::first_word(i.op, i.store ? word(i.to) : device_place::accumulator), words[0], words[1],
          words[2]};
}

}  // namespace

std::vector<DeviceInstruction> device_code(const Program& program) {
  std::vector<DeviceInstruction> code;
  code.reserve(program.code.size());
  for (const Instruction& instruction : program.code) code.push_back(encoded(instruction));
  return code;
}

}  // namespace pontryagin
