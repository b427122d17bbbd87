#include "cpu/link.hpp"

#include <stdexcept>
#include <utility>

namespace pontryagin {

namespace {

bool in_record(Place place) { return place.bank != Bank::fixed; }

int byte_offset(long slot, long slot_bytes) {
  const long bytes = slot * slot_bytes;
  if (bytes > (1L << 30)) throw std::length_error("a program needs more memory for one step than can be addressed");
  return static_cast<int>(bytes);
}

const void* checked(const void* handler) {
  if (handler == nullptr) throw std::logic_error("an instruction has no handler");
  return handler;
}

// The direct or scaled handler that fits, or -1. Of the memory operands only the first may lie in a record.
int direct_variant_of(Instruction& instruction, const LinkTarget& target, const void* const* row) {
  const auto is_constant = [&target](Place place) {
    return place.bank == Bank::fixed && place.slot >= target.first_constant &&
           place.slot < target.first_constant + target.constant_count;
  };
  const int count = arity(instruction.op);
  const bool commutes = instruction.op != Op::sub;
  if (instruction.op == Op::mul && instruction.accumulator == Accumulator::last) {
    instruction.accumulator = Accumulator::first;
    instruction.b = instruction.a;
  }
  if (instruction.accumulator == Accumulator::none || (instruction.accumulator == Accumulator::last && count == 3))
    if (commutes && (in_record(instruction.b) || is_constant(instruction.a))) std::swap(instruction.a, instruction.b);
  Place* const places[] = {&instruction.a, &instruction.b, &instruction.c};
  const int begin = instruction.accumulator == Accumulator::first ? 1 : 0;
  const int end = instruction.accumulator == Accumulator::last ? count - 1 : count;
  for (int k = begin + 1; k < end; ++k)
    if (in_record(*places[k])) return -1;
  const int to = !instruction.store ? 0 : in_record(instruction.to) ? 2 : 1;
  const int direct = direct_variant(static_cast<int>(instruction.accumulator), in_record(*places[begin]), to);
  const int scaled = scaled_variant(direct);
  return row[scaled] != nullptr && is_constant(instruction.b) ? scaled : direct;
}

std::vector<Linked> link_lanes(const Program& program, const LinkTarget& target) {
  std::vector<Linked> out;
  out.reserve(program.code.size());
  const int slot_bytes = target.lanes * target.scalar_bytes;
  for (Instruction instruction : program.code) {
    const void* const* row = target.handlers + static_cast<int>(instruction.op) * variants;
    const bool has_direct = row[direct_variant(0, false, 0)] != nullptr;
    const int direct = has_direct ? direct_variant_of(instruction, target, row) : -1;
    // Slots are longer than a byte, so an offset has room for the bank in its lowest bit.
    const auto operand = [&](Place place) {
      const long slot = place.bank == Bank::next ? static_cast<long>(place.slot) + target.record_slots : place.slot;
      return byte_offset(slot, slot_bytes) + (direct < 0 && in_record(place) ? 1 : 0);
    };
    const int general = general_variant(static_cast<int>(instruction.accumulator), instruction.store);
    const void* handler = checked(row[direct >= 0 ? direct : general]);
    out.push_back(
        {handler, operand(instruction.to), operand(instruction.a), operand(instruction.b), operand(instruction.c)});
  }
  return out;
}

// A sum, difference or product as r = c + a b or r = c - a b; the kind, or -1 for any other operation.
int as_fused(Instruction& instruction, Place one, Place minus_zero) {
  Place& a = instruction.a;
  Place& b = instruction.b;
  Place& c = instruction.c;
  Accumulator& acc = instruction.accumulator;
  bool minus = false;
  switch (instruction.op) {
    case Op::fma: break;
    case Op::fnma: minus = true; break;
    case Op::mul:  // a b - 0
      if (acc == Accumulator::last) std::swap(a, b), acc = Accumulator::first;
      c = minus_zero;
      break;
    case Op::add:  // a 1 + b
      c = b, b = one;
      break;
    case Op::sub:  // a - b 1
      minus = true;
      c = a, a = b, b = one;
      if (acc == Accumulator::first) acc = Accumulator::last;
      else if (acc == Accumulator::last) acc = Accumulator::first;
      break;
    case Op::fma3: return 6;
    case Op::fnma3: return 7;
    default: return -1;
  }
  return (minus ? 3 : 0) + static_cast<int>(acc);
}

std::vector<Linked> link_one(const Program& program, const LinkTarget& target) {
  const auto behind = [&target](int slot) { return Place{Bank::fixed, target.fixed_slots + slot}; };
  const Place one = behind(one_lane::one), minus_zero = behind(one_lane::minus_zero), spare = behind(one_lane::spare);
  const int window = one_lane::window(target.fixed_slots), stride = one_lane::round_up(target.record_slots);
  const auto offset = [&](Place place) {
    const long slot =
        place.bank == Bank::fixed ? place.slot : window + place.slot + (place.bank == Bank::next ? stride : 0);
    return byte_offset(slot, target.scalar_bytes);
  };
  std::vector<Linked> out;
  std::vector<int> kind;
  for (Instruction instruction : program.code) {
    kind.push_back(as_fused(instruction, one, minus_zero));
    if (!instruction.store) instruction.to = spare;
    const int accumulator = static_cast<int>(instruction.accumulator);
    const int handler = kind.back() >= 0 ? one_lane::alone(kind.back())
                                         : one_lane::handler(static_cast<int>(instruction.op), accumulator);
    out.push_back({checked(target.handlers[handler]), offset(instruction.to), offset(instruction.a),
                   offset(instruction.b), offset(instruction.c)});
  }
  // The first of a pair or a triple carries the handler that runs them all. The last instruction is a halt.
  const auto plus = [](int k) { return k >= 0 && k < one_lane::plus_kinds; };
  for (std::size_t i = 0; i + 1 < out.size();) {
    if (i + 2 < out.size() && plus(kind[i]) && plus(kind[i + 1]) && plus(kind[i + 2])) {
      out[i].handler = target.handlers[one_lane::triple(kind[i], kind[i + 1], kind[i + 2])];
      i += 3;
    } else if (kind[i] >= 0 && kind[i + 1] >= 0) {
      out[i].handler = target.handlers[one_lane::pair(kind[i], kind[i + 1])];
      i += 2;
    } else {
      ++i;
    }
  }
  return out;
}

}  // namespace

std::vector<Linked> link(const Program& program, const LinkTarget& target) {
  return target.lanes == 1 ? link_one(program, target) : link_lanes(program, target);
}

std::size_t block_slots(int lanes, int fixed_slots, int record_slots, long nodes) {
  if (lanes > 1) return static_cast<std::size_t>(fixed_slots + nodes * record_slots);
  return static_cast<std::size_t>(one_lane::window(fixed_slots) + (nodes + 2) * one_lane::round_up(record_slots));
}

}  // namespace pontryagin
