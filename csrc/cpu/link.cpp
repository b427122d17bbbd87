#include "cpu/link.hpp"

#include <algorithm>
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

// Whether the pack machine keeps what the accumulator held before an instruction.
bool keeps_previous(Op op) {
  return arity(op) >= 2 && op != Op::pow && op != Op::atan2 && op != Op::hypot && op != Op::where;
}

// The handler that takes the operand in `place` from where the accumulator stood before, or -1. Puts the other operands
// in the order that this handler wants.
int previous_variant_of(Instruction& instruction, Place place, const LinkTarget& target) {
  const auto is_constant = [&target](Place p) {
    return p.bank == Bank::fixed && p.slot >= target.first_constant &&
           p.slot < target.first_constant + target.constant_count;
  };
  Instruction next = instruction;
  int form = -1;
  const bool fused = next.op == Op::fma || next.op == Op::fnma, triple = next.op == Op::fma3 || next.op == Op::fnma3;
  if (fused && next.accumulator == Accumulator::first && next.c == place && !in_record(next.b)) {
    form = is_constant(next.b) ? 1 : 0;
  } else if (fused && next.accumulator != Accumulator::first) {
    if (next.a == place) std::swap(next.a, next.b);
    if (!(next.b == place)) return -1;
    const bool record = in_record(next.a);
    if (next.accumulator == Accumulator::last) form = record ? 3 : 2;
    else if (!record) form = in_record(next.c) ? 5 : 4;
  } else if (next.op == Op::mul) {
    if (next.accumulator == Accumulator::last) next.b = next.a, next.accumulator = Accumulator::first;
    if (next.a == place && next.accumulator == Accumulator::none) std::swap(next.a, next.b);
    if (!(next.b == place)) return -1;
    form = next.accumulator == Accumulator::first ? 4 : in_record(next.a) ? 3 : 2;
  } else if (triple) {  // (a b) c: only c may change its place with none
    if (!(next.c == place)) return -1;
    if (in_record(next.b) || is_constant(next.a)) std::swap(next.a, next.b);
    if (!in_record(next.b)) form = (is_constant(next.b) ? 4 : 2) + (in_record(next.a) ? 1 : 0);
  }
  if (form < 0) return -1;
  instruction = next;
  return previous_variant(form, !next.store ? 0 : in_record(next.to) ? 2 : 1);
}

// Which operands of an instruction are read from memory, given its handler.
template <class Visit>
void for_each_read(const Instruction& instruction, Place previous, bool with_previous, const Visit& visit) {
  if (instruction.op == Op::sincos) return visit(instruction.a);
  const Place places[] = {instruction.a, instruction.b, instruction.c};
  const int count = arity(instruction.op);
  for (int k = 0; k < count; ++k) {
    if (instruction.accumulator == Accumulator::first && k == 0) continue;
    if (instruction.accumulator == Accumulator::last && k == count - 1) continue;
    if (with_previous && places[k] == previous) continue;
    visit(places[k]);
  }
}

// Whether instruction i has one operand that the instruction before the last has stored.
bool previous_place(const std::vector<Instruction>& code, std::size_t i) {
  const Instruction &held = code[i - 2], &between = code[i - 1];
  if (!held.store || (between.store && between.to == held.to)) return false;
  if (held.op == Op::sincos && held.c == held.to) return false;
  int count = 0;
  for_each_read(code[i], {}, false, [&](Place place) { count += place == held.to ? 1 : 0; });
  return count == 1;
}

std::vector<Linked> link_lanes(const Program& program, const LinkTarget& target) {
  std::vector<Instruction> code = program.code;
  std::vector<int> variant(code.size(), -1);
  std::vector<Place> previous(code.size());
  for (std::size_t i = 2; i < code.size(); ++i) {
    if (!keeps_previous(code[i - 1].op) || !previous_place(code, i)) continue;
    previous[i] = code[i - 2].to;
    variant[i] = previous_variant_of(code[i], previous[i], target);
  }
  // Temporaries that nobody reads any more are not written.
  const int first_temporary = target.first_constant + target.constant_count;
  std::vector<char> live(static_cast<std::size_t>(target.fixed_slots), 0);
  for (std::size_t i = code.size(); i-- > 0;) {
    Instruction& instruction = code[i];
    const auto temporary = [&](Place p) { return p.bank == Bank::fixed && p.slot >= first_temporary; };
    if (instruction.op == Op::sincos) {
      for (Place p : {instruction.to, instruction.c})
        if (temporary(p)) live[static_cast<std::size_t>(p.slot)] = 0;
    } else if (instruction.store && temporary(instruction.to)) {
      char& wanted = live[static_cast<std::size_t>(instruction.to.slot)];
      if (!wanted && instruction.op != Op::copy) {
        instruction.store = false;
        if (variant[i] >= 0) variant[i] -= 1;  // result fixed -> keep
      }
      wanted = 0;
    }
    for_each_read(instruction, previous[i], variant[i] >= 0, [&](Place p) {
      if (temporary(p)) live[static_cast<std::size_t>(p.slot)] = 1;
    });
  }
  std::vector<Linked> out;
  out.reserve(code.size());
  const int slot_bytes = target.lanes * target.scalar_bytes;
  for (std::size_t i = 0; i < code.size(); ++i) {
    Instruction instruction = code[i];
    const void* const* row = target.handlers + static_cast<int>(instruction.op) * variants;
    const bool has_direct = row[direct_variant(0, false, 0)] != nullptr;
    const int direct = variant[i] >= 0 ? variant[i] : has_direct ? direct_variant_of(instruction, target, row) : -1;
    // Slots are longer than a byte, so an offset has room for the bank in its lowest bit.
    const auto operand = [&](Place place) {
      const long slot = place.bank == Bank::next ? static_cast<long>(place.slot) + target.record_slots : place.slot;
      return byte_offset(slot, slot_bytes) + (direct < 0 && in_record(place) ? 1 : 0);
    };
    const int general = general_variant(static_cast<int>(instruction.accumulator), instruction.store);
    const void* handler = checked(row[direct >= 0 ? direct : general]);
    out.push_back(
        {handler, operand(instruction.a), operand(instruction.b), operand(instruction.c), operand(instruction.to)});
  }
  return out;
}

// A sum, difference or product as r = c + a b, r = c - a b or r = a b; the kind, or -1 for any other operation.
int as_fused(Instruction& instruction, Place one) {
  Place& a = instruction.a;
  Place& b = instruction.b;
  Place& c = instruction.c;
  Accumulator& acc = instruction.accumulator;
  bool minus = false;
  switch (instruction.op) {
    case Op::fma: break;
    case Op::fnma: minus = true; break;
    case Op::mul:
      if (acc == Accumulator::last) std::swap(a, b), acc = Accumulator::first;
      return one_lane::first_product + static_cast<int>(acc);
    case Op::add:  // a 1 + b
      c = b, b = one;
      break;
    case Op::sub:  // a - b 1
      minus = true;
      c = a, a = b, b = one;
      if (acc == Accumulator::first) acc = Accumulator::last;
      else if (acc == Accumulator::last) acc = Accumulator::first;
      break;
    case Op::fma3: return 3;
    case Op::fnma3: return one_lane::plus_kinds + 3;
    default: return -1;
  }
  return (minus ? one_lane::plus_kinds : 0) + static_cast<int>(acc);
}

// The kind that takes the operand in `place` from where the accumulator stood before, or -1. Puts the other operands
// where this kind wants them.
int as_previous(Instruction& instruction, Place place, Place one, Place minus_zero) {
  Place& a = instruction.a;
  Place& b = instruction.b;
  Place& c = instruction.c;
  const Accumulator acc = instruction.accumulator;
  const auto kind = [](int which) { return one_lane::first_previous_kind + which; };
  switch (instruction.op) {
    case Op::fma:
      if (acc == Accumulator::first) return b == place ? kind(0) : kind(1);
      if (a == place) std::swap(a, b);
      if (!(b == place)) return -1;
      return acc == Accumulator::last ? kind(2) : kind(3);
    case Op::mul:
      c = minus_zero;
      if (acc != Accumulator::none) return kind(0);
      if (a == place) std::swap(a, b);
      return kind(3);
    case Op::add:
      if (acc == Accumulator::none) return -1;
      b = one;
      return kind(1);
    case Op::fma3:
      if (c == place) return kind(4);
      if (a == place) std::swap(a, b);
      return kind(5);
    default: return -1;
  }
}

// Whether both factors of instruction i are what the one before has left in the accumulator.
bool squares_accumulator(const std::vector<Instruction>& code, std::size_t i) {
  if (i == 0 || code[i].op != Op::mul || !code[i - 1].store) return false;
  if (code[i].accumulator == Accumulator::none) return false;
  const Place factor = code[i].accumulator == Accumulator::first ? code[i].b : code[i].a;
  return factor == code[i - 1].to && !(code[i - 1].op == Op::sincos && code[i - 1].c == factor);
}

// The handler that runs `count` instructions of these kinds, or nullptr.
const void* shared_handler(const int* kind, int count, const void* const* handlers) {
  const auto each = [&](auto condition) { return std::all_of(kind, kind + count, condition); };
  if (count == 2 && each([](int k) { return k >= 0; })) return handlers[one_lane::pair(kind[0], kind[1])];
  if (!each([](int k) { return k >= 0 && k < one_lane::plus_kinds; })) return nullptr;
  return count == 3 ? handlers[one_lane::triple(kind[0], kind[1], kind[2])] : nullptr;
}

// Cuts the code into the fewest groups; the first instruction of a group carries the handler that runs them all.
void share_handlers(std::vector<Linked>& code, const std::vector<int>& kind, const void* const* handlers) {
  std::vector<int> groups(code.size() + 1, 0), length(code.size(), 1);
  for (std::size_t i = code.size(); i-- > 0;) {
    groups[i] = groups[i + 1] + 1;
    for (int count = 2; count <= 3 && i + static_cast<std::size_t>(count) <= code.size(); ++count) {
      const int with = groups[i + static_cast<std::size_t>(count)] + 1;
      if (with >= groups[i] || shared_handler(&kind[i], count, handlers) == nullptr) continue;
      groups[i] = with, length[i] = count;
    }
  }
  for (std::size_t i = 0; i < code.size(); i += static_cast<std::size_t>(length[i]))
    if (length[i] > 1) code[i].handler = shared_handler(&kind[i], length[i], handlers);
}

// The record of node k lies in half `parity` of the window and that of node k + 1 in the other.
std::vector<Linked> link_one(const Program& program, const LinkTarget& target, int parity) {
  const auto behind = [&target](int slot) { return Place{Bank::fixed, target.fixed_slots + slot}; };
  const Place one = behind(one_lane::one), minus_zero = behind(one_lane::minus_zero), spare = behind(one_lane::spare);
  const int window = one_lane::window(target.fixed_slots), stride = one_lane::round_up(target.record_slots);
  const auto offset = [&](Place place) {
    const int half = place.bank == Bank::next ? 1 - parity : parity;
    const long slot = place.bank == Bank::fixed ? place.slot : window + half * stride + place.slot;
    return byte_offset(slot, target.scalar_bytes);
  };
  std::vector<Linked> out;
  std::vector<int> kind;
  for (std::size_t i = 0; i < program.code.size(); ++i) {
    Instruction instruction = program.code[i];
    const bool previous = i >= 2 && kind[i - 1] >= 0 && previous_place(program.code, i);
    kind.push_back(previous ? as_previous(instruction, program.code[i - 2].to, one, minus_zero) : -1);
    if (squares_accumulator(program.code, i)) kind.back() = one_lane::square_kind;
    if (kind.back() < 0) kind.back() = as_fused(instruction, one);
    if (previous && instruction.op == Op::sincos) instruction.accumulator = Accumulator::last;
    if (!instruction.store) instruction.to = spare;
    const int accumulator = static_cast<int>(instruction.accumulator);
    const int handler = kind.back() >= 0 ? one_lane::alone(kind.back())
                                         : one_lane::handler(static_cast<int>(instruction.op), accumulator);
    out.push_back({checked(target.handlers[handler]), offset(instruction.a), offset(instruction.b),
                   offset(instruction.c), offset(instruction.to)});
  }
  share_handlers(out, kind, target.handlers);
  return out;
}

}  // namespace

std::vector<Linked> link(const Program& program, const LinkTarget& target, int parity) {
  return target.lanes == 1 ? link_one(program, target, parity) : link_lanes(program, target);
}

std::size_t block_slots(int lanes, int fixed_slots, int record_slots, long nodes) {
  if (lanes > 1) return static_cast<std::size_t>(fixed_slots + nodes * record_slots);
  return static_cast<std::size_t>(one_lane::window(fixed_slots) + (nodes + 2) * one_lane::round_up(record_slots));
}

}  // namespace pontryagin
