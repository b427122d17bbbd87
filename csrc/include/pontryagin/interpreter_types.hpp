// What a linked program is made of; apart from the machine itself, so that code for no particular instruction set can
// link programs.
#pragma once

#include "opcode.hpp"

namespace pontryagin {

// An instruction linked for one instruction set, scalar type and number of lanes. Operands are byte offsets into the
// fixed bank or the records, counted from the record of the node at hand. In a general handler the lowest bit of an
// offset names the bank (0 fixed, 1 record); in a direct handler the handler itself knows.
struct Linked {
  const void* handler;
  int a, b, c, to;
};

// Handlers of one operation.
//   general: accumulator (none, first, last) x (keep, store); any operand from either bank
//   direct:  accumulator (none, first, last) x first memory operand (fixed, record) x result (keep, fixed, record);
//            all other memory operands are in the fixed bank. Only the common arithmetic has them.
//   scaled:  the same where b is a constant: one scalar is read instead of a pack. Only products have them.
//   previous: one operand is what the accumulator held before; `Previous` x result (keep, fixed, record).
constexpr int general_variants = 6;
constexpr int direct_variants = 18;
constexpr int previous_variants = 18;
constexpr int variants = general_variants + 2 * direct_variants + previous_variants;

constexpr int general_variant(int accumulator, bool store) { return 2 * accumulator + (store ? 1 : 0); }
constexpr int direct_variant(int accumulator, bool from_record, int to) {
  return general_variants + (2 * accumulator + (from_record ? 1 : 0)) * 3 + to;
}
constexpr int scaled_variant(int direct) { return direct + direct_variants; }

// Where the operands of a previous handler come from: `f` fixed, `r` record, `k` a constant, `acc`, and `prev`.
//   fused    acc f prev  acc k prev  f prev acc  r prev acc  f prev f    f prev r
//   mul                              f prev      r prev      acc prev
//   triple                           f f prev    r f prev    f k prev    r k prev
constexpr int previous_variant(int form, int to) { return general_variants + 2 * direct_variants + 3 * form + to; }

// The machine for one lane (interpreter_one.hpp): kinds of fused operations, alone, in pairs and, where products are
// added, in threes; then three handlers for each operation: accumulator none, first, last.
namespace one_lane {
// plus x accumulator none, as factor, as summand of two and of three factors; product x accumulator none, as factor;
// minus as plus; then those that read what the accumulator held before: acc prev + c, acc b + prev, a prev + acc,
// a prev + c, (a b) prev + acc, (a prev) c + acc; and the square of the accumulator
constexpr int first_product = 4;
constexpr int plus_kinds = 6;  // with the products
constexpr int first_previous_kind = plus_kinds + 4;
constexpr int square_kind = first_previous_kind + 6;
constexpr int kinds = square_kind + 1;
constexpr int alone(int kind) { return kind * (kinds + 1); }
constexpr int pair(int first, int second) { return first * (kinds + 1) + 1 + second; }
constexpr int first_triple = kinds * (kinds + 1);
constexpr int triple(int first, int second, int third) {
  return first_triple + (first * plus_kinds + second) * plus_kinds + third;
}
constexpr int first_operation = triple(plus_kinds, 0, 0);
constexpr int handler(int op, int accumulator) { return first_operation + 3 * op + accumulator; }
constexpr int table_size = first_operation + 3 * op_count;

// Slots behind the fixed bank: 1, -0, a spare one for unwanted results; then a window of two records.
constexpr int one = 0, minus_zero = 1, spare = 2;
constexpr int slot_group = 8;  // records and the window start at multiples of 64 bytes (float64)
constexpr int round_up(int slots) { return (slots + slot_group - 1) / slot_group * slot_group; }
constexpr int window(int fixed_count) { return round_up(fixed_count + 3); }
}  // namespace one_lane

}  // namespace pontryagin
