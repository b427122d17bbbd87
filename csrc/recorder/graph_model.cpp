#include "recorder/graph_model.hpp"

#include <stdexcept>
#include <string>

namespace pontryagin {

void validate(const Code& code, const ModelSizes& sizes, int outputs) {
  const auto fail = [](const std::string& what) { throw std::invalid_argument("graph code: " + what); };
  const std::size_t count = code.op.size();
  if (code.a.size() != count || code.b.size() != count || code.c.size() != count || code.value.size() != count)
    fail("arrays of unequal length");
  const std::int32_t group_size[] = {1, sizes.n, sizes.m, sizes.q, sizes.nd, 1, sizes.n, sizes.r + 1};
  for (std::size_t i = 0; i < count; ++i) {
    if (code.op[i] == static_cast<int>(Op::constant)) continue;
    if (code.op[i] == static_cast<int>(Op::input)) {
      if (code.a[i] < 0 || code.a[i] >= static_cast<int>(Group::count) || code.b[i] < 0 ||
          code.b[i] >= group_size[code.a[i]])
        fail("input " + std::to_string(i) + " is out of range");
      continue;
    }
    if (code.op[i] < 0 || code.op[i] > static_cast<int>(Op::where)) fail("unknown operation");
    const std::int32_t operands[] = {code.a[i], code.b[i], code.c[i]};
    for (int k = 0; k < arity(static_cast<Op>(code.op[i])); ++k)
      if (operands[k] < 0 || operands[k] >= static_cast<std::int32_t>(i)) fail("operand out of order");
  }
  if (static_cast<int>(code.outputs.size()) != outputs) fail("wrong number of outputs");
  for (std::int32_t id : code.outputs)
    if (id < 0 || id >= static_cast<std::int32_t>(count)) fail("output out of range");
}

void ModelCode::validate() const {
  if (sizes.n < 1 || sizes.m < 0 || sizes.q < 0 || sizes.nd < 0 || sizes.equalities < 0 || sizes.r < sizes.equalities)
    throw std::invalid_argument("model sizes are not valid");
  pontryagin::validate(dynamics, sizes, sizes.n + 1);
  pontryagin::validate(pullback, sizes, sizes.n + sizes.m + sizes.q + 1);
  pontryagin::validate(terminal, sizes, 1 + sizes.r);
  pontryagin::validate(terminal_pullback, sizes, sizes.n + sizes.q + 1);
}

Symbols GraphModel::run(const Code& code, const std::vector<Symbols>& inputs) {
  Symbols values(code.op.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Op op = static_cast<Op>(code.op[i]);
    if (op == Op::constant) {
      values[i] = Symbol(code.value[i]);
    } else if (op == Op::input) {
      values[i] = inputs[static_cast<std::size_t>(code.a[i])][static_cast<std::size_t>(code.b[i])];
    } else {
      const auto at = [&](std::int32_t id) { return id < 0 ? Symbol() : values[static_cast<std::size_t>(id)]; };
      const int count = arity(op);
      values[i] =
          Symbol::apply(op, at(code.a[i]), count > 1 ? at(code.b[i]) : Symbol(), count > 2 ? at(code.c[i]) : Symbol());
    }
  }
  Symbols out;
  for (std::int32_t id : code.outputs) out.push_back(values[static_cast<std::size_t>(id)]);
  return out;
}

void GraphModel::split(const Symbols& g, Symbols& x, Symbols& u, Symbols& theta, Symbol& t) const {
  auto it = g.begin();
  x.assign(it, it + n());
  u.assign(it + n(), it + n() + m());
  theta.assign(it + n() + m(), it + n() + m() + q());
  t = g.back();
}

void GraphModel::dynamics(Symbol t, const Symbols& x, const Symbols& u, const Symbols& theta, const Symbols& d,
                          Symbols& f, Symbol& L, Cut& cut) const {
  f = run(code_.dynamics, {{t}, x, u, theta, d, {}, {}, {}});
  L = f.back();
  f.pop_back();
  cut.x = x;
}

void GraphModel::terminal(Symbol t, const Symbols& x, const Symbols& theta, Symbol& phi, Symbols& e, Cut& cut) const {
  e = run(code_.terminal, {{t}, x, {}, theta, {}, {}, {}, {}});
  phi = e.front();
  e.erase(e.begin());
  cut.x = x;
}

GraphModel::StageGradient GraphModel::terminal_pullback(const Cut& cut, Symbol t, const Symbols& theta, Symbol omega_0,
                                                        const Symbols& omega) const {
  Symbols weights{omega_0};
  weights.insert(weights.end(), omega.begin(), omega.end());
  const Symbols g = run(code_.terminal_pullback, {{t}, cut.x, {}, theta, {}, {}, {}, weights});
  StageGradient out;
  out.x.assign(g.begin(), g.begin() + n());
  out.theta.assign(g.begin() + n(), g.begin() + n() + q());
  out.t = g.back();
  return out;
}

}  // namespace pontryagin
