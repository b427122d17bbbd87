#include "recorder/point_program.hpp"

#include <stdexcept>

namespace pontryagin {

namespace {

void check(const Code& code, int first_result, int rows) {
  const auto fail = [](const char* what) { throw std::invalid_argument(std::string("point program: ") + what); };
  const std::size_t count = code.op.size();
  if (code.a.size() != count || code.b.size() != count || code.c.size() != count || code.value.size() != count)
    fail("arrays of unequal length");
  if (first_result < 0 || first_result + static_cast<long>(code.outputs.size()) > rows) fail("too few rows");
  for (std::size_t i = 0; i < count; ++i) {
    if (code.op[i] == static_cast<int>(Op::constant)) continue;
    if (code.op[i] == static_cast<int>(Op::input)) {
      if (code.b[i] < 0 || code.b[i] >= first_result) fail("input out of range");
      continue;
    }
    if (code.op[i] < 0 || code.op[i] > static_cast<int>(Op::where)) fail("unknown operation");
    const std::int32_t operands[] = {code.a[i], code.b[i], code.c[i]};
    for (int k = 0; k < arity(static_cast<Op>(code.op[i])); ++k)
      if (operands[k] < 0 || operands[k] >= static_cast<std::int32_t>(i)) fail("operand out of order");
  }
  for (std::int32_t id : code.outputs)
    if (id < 0 || id >= static_cast<std::int32_t>(count)) fail("output out of range");
}

}  // namespace

PointProgram make_point_program(const Code& code, int first_result, int rows) {
  check(code, first_result, rows);
  Tape tape;
  const Symbol::Recording recording(tape);
  Symbols values(code.op.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Op op = static_cast<Op>(code.op[i]);
    if (op == Op::constant) {
      values[i] = Symbol(code.value[i]);
    } else if (op == Op::input) {
      values[i] = Symbol::input({Bank::record, code.b[i]});
    } else {
      const int count = arity(op);
      const auto at = [&](std::int32_t id) { return values[static_cast<std::size_t>(id)]; };
      values[i] =
          Symbol::apply(op, at(code.a[i]), count > 1 ? at(code.b[i]) : Symbol(), count > 2 ? at(code.c[i]) : Symbol());
    }
  }
  std::vector<Output> outputs;
  for (std::size_t i = 0; i < code.outputs.size(); ++i)
    outputs.push_back({values[static_cast<std::size_t>(code.outputs[i])].id(),
                       {Bank::record, first_result + static_cast<std::int32_t>(i)}});
  PointProgram out;
  ConstantPool constants(0);
  out.program = assemble(tape, outputs, {}, constants);
  out.constants = constants.values();
  relocate(out.program, constants.end());
  out.fixed_count = constants.end() + out.program.temporaries;
  return out;
}

}  // namespace pontryagin
