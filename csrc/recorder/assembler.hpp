// From a tape to a program: an instruction list for an accumulator machine.
//
// The machine has one accumulator, so that a value used once, by the next instruction, is never written to memory.
// Values used more often live in temporaries of the fixed bank, given out by liveness.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "recorder/tape.hpp"

namespace pontryagin {

// Which operand is the accumulator instead of memory. `last` is b of a binary operation and c of a ternary one.
enum class Accumulator : unsigned char { none, first, last };

struct Instruction {
  Op op;
  Accumulator accumulator;
  bool store;         // write the result to `to` besides keeping it in the accumulator
  Place to, a, b, c;  // sincos writes the sine to `to` and the cosine to `c`
};

struct Program {
  std::vector<Instruction> code;
  int temporaries = 0;  // how many slots of the fixed bank, from the first temporary on
};

struct Output {
  int node;
  Place place;
  // Kept for another program. It does not change how the rest is computed, so that a sweep that keeps nothing gives the
  // same bits.
  bool aside = false;
};

// Slots of the fixed bank that hold constants, shared by all programs of a sweep.
class ConstantPool {
 public:
  explicit ConstantPool(int first_slot) : first_(first_slot) {}
  Place place(double value);
  bool find(Place place, double& value) const;  // whether this is the place of a constant, and of which
  const std::vector<double>& values() const { return values_; }
  int end() const { return first_ + static_cast<int>(values_.size()); }

 private:
  int first_;
  std::vector<double> values_;
};

using Given = std::unordered_map<int, Place>;  // nodes whose value is already in memory

// Computes every output and writes it to its place. An output may be written to a place that the program reads: all
// reads of it come first. Temporaries are numbered from `temporary_base`; `relocate` moves them.
Program assemble(const Tape& tape, const std::vector<Output>& outputs, const Given& given, ConstantPool& constants);

// Whether an instruction reads this place.
bool reads(const Program& program, Place place);

// One line an instruction, for people: "r3 = fma acc f7 f9". Places are f (fixed), r (record), n (next record).
std::string listing(const Program& program);

// Temporaries carry slots from here on until `relocate` moves them behind the constants.
constexpr std::int32_t temporary_base = 1 << 28;
void relocate(Program& program, int first_slot);

}  // namespace pontryagin
