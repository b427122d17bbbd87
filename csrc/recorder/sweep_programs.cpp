#include "recorder/sweep_programs.hpp"

#include <algorithm>
#include <initializer_list>

#include "pontryagin/step.hpp"
#include "pontryagin/terminal.hpp"

namespace pontryagin {

namespace {

Symbols inputs(Bank bank, int first, int count) {
  Symbols out;
  for (int i = 0; i < count; ++i) out.push_back(Symbol::input({bank, first + i}));
  return out;
}

Symbols zeros(int count) { return Symbols(static_cast<std::size_t>(count), Symbol(0.0)); }

void write(std::vector<Output>& outputs, const Symbols& values, Bank bank, int first) {
  for (std::size_t i = 0; i < values.size(); ++i)
    outputs.push_back({values[i].id(), {bank, first + static_cast<int>(i)}, false});
}

class Builder {
 public:
  Builder(const ModelCode& code, const Tableau& tableau, double t0, const SweepRequest& request)
      : model_(code), tableau_(tableau), t0_(t0) {
    out_.request = request;
    out_.sizes = code.sizes;
    lay_out();
  }

  SweepPrograms run() {
    const Symbol::Recording recording(tape_);
    record_forward();
    record_terminal();
    if (out_.request.backward) record_backward();
    hoist();
    assemble_all();
    return std::move(out_);
  }

 private:
  void lay_out() {
    const ModelSizes& s = out_.sizes;
    const SweepRequest& request = out_.request;
    FixedSlots& f = out_.fixed;
    int next = 0;
    const auto take = [&next](int count) {
      const int first = next;
      next += count;
      return first;
    };
    f.span = take(1), f.h = take(1), f.t = take(1), f.omega_0 = take(1), f.cost = take(1);
    f.objective = take(1), f.lagrangian = take(1), f.span_adjoint = take(1);
    f.theta = take(s.q), f.theta_adjoint = take(s.q), f.nu = take(s.r), f.rho = take(s.r), f.e = take(s.r);
    f.count = next;  // hoisted values follow

    RecordSlots& r = out_.record;
    next = 0;
    r.x = take(s.n), r.u = take(s.m), r.d = take(s.nd);
    // p_k may replace x_k, and dJ/du_k a constant u_k: the backward program reads before it writes.
    r.p = request.backward && request.keep_state ? take(s.n) : r.x;
    r.u_adjoint = request.backward && request.linear_control ? take(s.m) : r.u;
    r.x_cotangent = request.backward && request.extended ? take(s.n) : 0;
    r.cut = next;
    r.count = next;
  }

  Symbol fixed(int slot) { return Symbol::input({Bank::fixed, slot}); }
  Symbol omega_0() { return out_.request.extended ? fixed(out_.fixed.omega_0) : Symbol(1.0); }

  StepInput<GraphModel> step_input() {
    const ModelSizes& s = out_.sizes;
    const RecordSlots& r = out_.record;
    StepInput<GraphModel> in;
    in.t0 = Symbol(t0_);
    in.t = fixed(out_.fixed.t);
    in.h = fixed(out_.fixed.h);
    in.x = inputs(Bank::record, r.x, s.n);
    in.u = inputs(Bank::record, r.u, s.m);
    in.d = inputs(Bank::record, r.d, s.nd);
    in.linear_control = out_.request.linear_control;
    in.linear_data = out_.request.linear_data;
    in.u_next = in.linear_control ? inputs(Bank::next, r.u, s.m) : in.u;
    in.d_next = in.linear_data ? inputs(Bank::next, r.d, s.nd) : in.d;
    theta_ = inputs(Bank::fixed, out_.fixed.theta, s.q);
    in.theta = &theta_;
    return in;
  }

  void size_stages() {
    for (Stage<GraphModel>& stage : stages_) {
      stage.u = zeros(out_.sizes.m);
      stage.d = zeros(out_.sizes.nd);
    }
  }

  void record_forward() {
    const StepInput<GraphModel> in = step_input();
    size_stages();
    Symbols x_next;
    Symbol cost = fixed(out_.fixed.cost);
    step_forward(model_, tableau_, in, stages_, x_next, cost, [](int) {});
    write(forward_, x_next, Bank::next, out_.record.x);
    write(forward_, {cost}, Bank::fixed, out_.fixed.cost);
    forward_end_ = tape_.size();
  }

  void record_terminal() {
    const ModelSizes& s = out_.sizes;
    const FixedSlots& f = out_.fixed;
    const RecordSlots& r = out_.record;
    const Symbols x = inputs(Bank::record, r.x, s.n), theta = inputs(Bank::fixed, f.theta, s.q);
    const Symbol span = fixed(f.span), t1 = span + Symbol(t0_);
    TerminalValue<GraphModel> value;
    value.omega = zeros(s.r);
    terminal_forward(model_, t1, x, theta, fixed(f.cost), omega_0(), inputs(Bank::fixed, f.nu, s.r),
                     inputs(Bank::fixed, f.rho, s.r), value);
    write(terminal_, {value.objective}, Bank::fixed, f.objective);
    write(terminal_, {value.lagrangian}, Bank::fixed, f.lagrangian);
    write(terminal_, value.e, Bank::fixed, f.e);
    if (!out_.request.backward) return;
    GraphModel::StageGradient g = model_.terminal_pullback(value.cut, t1, theta, omega_0(), value.omega);
    const std::size_t values = terminal_.size();
    if (out_.request.extended) {
      for (int i = 0; i < s.n; ++i) g.x[i] = g.x[i] + Symbol::input({Bank::record, r.x_cotangent + i});
      write(terminal_, g.theta, Bank::fixed, f.theta_adjoint);
      write(terminal_, {span * g.t}, Bank::fixed, f.span_adjoint);
    }
    write(terminal_, g.x, Bank::record, r.p);
    if (out_.request.linear_control) write(terminal_, zeros(s.m), Bank::record, r.u_adjoint);
    for (std::size_t i = values; i < terminal_.size(); ++i) terminal_[i].aside = true;
  }

  void record_backward() {
    const ModelSizes& s = out_.sizes;
    const FixedSlots& f = out_.fixed;
    const RecordSlots& r = out_.record;
    const bool linear = out_.request.linear_control;
    StepAdjoint<GraphModel> adjoint;
    adjoint.p = inputs(Bank::next, r.p, s.n);
    adjoint.u = zeros(s.m);
    adjoint.u_next = linear ? inputs(Bank::next, r.u_adjoint, s.m) : Symbols();
    adjoint.theta = inputs(Bank::fixed, f.theta_adjoint, s.q);
    adjoint.span = fixed(f.span_adjoint);
    adjoint.with_span = out_.request.extended;
    step_backward(model_, tableau_, step_input(), stages_, omega_0(), adjoint, [](int) {});
    if (out_.request.extended) {
      for (int i = 0; i < s.n; ++i) adjoint.p[i] = adjoint.p[i] + Symbol::input({Bank::record, r.x_cotangent + i});
      write(backward_, adjoint.theta, Bank::fixed, f.theta_adjoint);
      write(backward_, {adjoint.span}, Bank::fixed, f.span_adjoint);
    }
    write(backward_, adjoint.p, Bank::record, r.p);
    write(backward_, adjoint.u, Bank::record, r.u_adjoint);
    if (linear) write(backward_, adjoint.u_next, Bank::next, r.u_adjoint);
  }

  // 0: constant; 1: the same for a whole sweep; 2: changes from step to step.
  void rank() {
    const FixedSlots& f = out_.fixed;
    rank_.assign(static_cast<std::size_t>(tape_.size()), 0);
    for (int id = 0; id < tape_.size(); ++id) {
      const TapeNode& node = tape_[id];
      if (node.op == Op::constant) continue;
      if (node.op == Op::input) {
        const bool in_fixed = node.a == static_cast<int>(Bank::fixed);
        const bool parameter =
            in_fixed && ((node.b >= f.theta && node.b < f.theta + out_.sizes.q) || node.b == f.span ||
                         (out_.request.uniform && node.b == f.h) || (node.b >= f.nu && node.b < f.e));
        rank_[id] = parameter ? 1 : 2;
        continue;
      }
      for (int operand : {node.a, node.b, node.c})
        if (operand >= 0) rank_[id] = std::max(rank_[id], rank_[operand]);
    }
  }

  // Values of rank 1 that a step or the end needs are computed once, in the prologue. What only the backward program
  // needs is set aside there, so that the rest has the same bits without it.
  void hoist() {
    rank();
    hoist_for({&forward_, &terminal_}, false);
    hoist_for({&backward_}, true);
    out_.fixed.constants = out_.fixed.count;
  }

  void hoist_for(std::initializer_list<const std::vector<Output>*> programs, bool aside) {
    std::vector<char> needed(static_cast<std::size_t>(tape_.size()), 0);
    for (const auto* list : programs)
      for (const Output& output : *list) needed[output.node] = 1;
    for (int id = tape_.size() - 1; id >= 0; --id) {
      const TapeNode& node = tape_[id];
      if (!needed[id] || node.op == Op::constant || node.op == Op::input || rank_[id] < 2) continue;
      for (int operand : {node.a, node.b, node.c})
        if (operand >= 0) needed[operand] = 1;
    }
    for (int id = 0; id < tape_.size(); ++id) {
      if (!needed[id] || rank_[id] != 1 || tape_[id].op == Op::input || hoisted_.count(id)) continue;
      const Place place{Bank::fixed, out_.fixed.count++};
      hoisted_.emplace(id, place);
      prologue_.push_back({id, place, aside});
    }
  }

  // Does a step's state enter this value? And how many operations is it away from inputs?
  void weigh() {
    const std::size_t count = static_cast<std::size_t>(tape_.size());
    from_state_.assign(count, 0);
    weight_.assign(count, 0);
    for (int id = 0; id < tape_.size(); ++id) {
      const TapeNode& node = tape_[id];
      if (node.op == Op::constant || hoisted_.count(id)) continue;
      if (node.op == Op::input) {
        from_state_[id] = node.a != static_cast<int>(Bank::fixed) && node.b < out_.record.x + out_.sizes.n;
        continue;
      }
      weight_[id] =
          node.op == Op::add || node.op == Op::sub || node.op == Op::mul || node.op == Op::neg || node.op == Op::fma
              ? 1
              : 100;
      for (int operand : {node.a, node.b, node.c}) {
        if (operand < 0) continue;
        from_state_[id] |= from_state_[operand];
        weight_[id] = std::min(1000, weight_[id] + weight_[operand]);
      }
    }
  }

  // Walks from the backward outputs into the forward part and decides what is stored there.
  Given choose_cut() {
    weigh();
    constexpr int cheap = 3;
    std::vector<char> needed(static_cast<std::size_t>(tape_.size()), 0), kept = needed;
    for (const Output& output : backward_) needed[output.node] = 1;
    for (int id = tape_.size() - 1; id >= 0; --id) {
      const TapeNode& node = tape_[id];
      if (!needed[id] || node.op == Op::constant || node.op == Op::input || hoisted_.count(id)) continue;
      if (id < forward_end_ && (from_state_[id] || weight_[id] > cheap)) {
        kept[id] = 1;
        continue;
      }
      for (int operand : {node.a, node.b, node.c})
        if (operand >= 0) needed[operand] = 1;
    }
    Given cut;
    for (int id = 0; id < forward_end_; ++id) {
      if (!kept[id] || follows(tape_[id], cut)) continue;
      const Place place{Bank::record, out_.record.count++};
      cut.emplace(id, place);
      forward_.push_back({id, place, true});
    }
    return cut;
  }

  // A product or a negation of what is stored anyway is made again: that costs less than the memory.
  bool follows(const TapeNode& node, const Given& cut) const {
    if (node.op != Op::mul && node.op != Op::neg) return false;
    for (int operand : {node.a, node.b}) {
      if (operand < 0) continue;
      const Op op = tape_[operand].op;
      if (op != Op::constant && op != Op::input && cut.count(operand) == 0 && hoisted_.count(operand) == 0)
        return false;
    }
    return true;
  }

  void assemble_all() {
    Given cut;
    if (out_.request.backward) cut = choose_cut();
    ConstantPool constants(out_.fixed.constants);
    Given for_backward = hoisted_;
    for (const auto& [id, place] : cut) for_backward.emplace(id, place);
    out_.prologue = assemble(tape_, prologue_, {}, constants);
    out_.forward = assemble(tape_, forward_, hoisted_, constants);
    out_.terminal = assemble(tape_, terminal_, hoisted_, constants);
    out_.backward = assemble(tape_, backward_, for_backward, constants);
    out_.constants = constants.values();
    int temporaries = 0;
    for (Program* program : {&out_.prologue, &out_.forward, &out_.terminal, &out_.backward}) {
      relocate(*program, constants.end());
      temporaries = std::max(temporaries, program->temporaries);
    }
    out_.fixed.count = constants.end() + temporaries;
  }

  Tape tape_;
  GraphModel model_;
  Symbols theta_;
  const Tableau& tableau_;
  double t0_;
  SweepPrograms out_;
  Stage<GraphModel> stages_[max_stages];
  std::vector<Output> prologue_, forward_, terminal_, backward_;
  Given hoisted_;
  int forward_end_ = 0;
  std::vector<int> rank_, weight_;
  std::vector<char> from_state_;
};

}  // namespace

SweepPrograms make_sweep_programs(const ModelCode& code, const Tableau& tableau, double t0,
                                  const SweepRequest& request) {
  return Builder(code, tableau, t0, request).run();
}

PointPrograms make_point_programs(const ModelCode& code) {
  const ModelSizes& s = code.sizes;
  PointPrograms out;
  out.sizes = s;
  out.theta = 0;
  out.t = 0, out.x = 1, out.p = out.x + s.n, out.u = out.p + s.n, out.d = out.u + s.m;
  out.h = out.d + s.nd, out.h_x = out.h + 1, out.h_u = out.h_x + s.n, out.record_count = out.h_u + s.m;
  Tape tape;
  const Symbol::Recording recording(tape);
  const GraphModel model(code);
  const Symbol t = Symbol::input({Bank::record, out.t});
  const Symbols x = inputs(Bank::record, out.x, s.n), p = inputs(Bank::record, out.p, s.n);
  const Symbols u = inputs(Bank::record, out.u, s.m), d = inputs(Bank::record, out.d, s.nd);
  const Symbols theta = inputs(Bank::fixed, out.theta, s.q);
  Symbols f;
  Symbol h;
  GraphModel::Cut cut;
  model.dynamics(t, x, u, theta, d, f, h, cut);
  for (int i = 0; i < s.n; ++i) h = fma(p[i], f[i], h);
  Gradient<GraphModel> gradient;
  model.pullback(cut, t, u, theta, d, Symbol(1.0), p, gradient);
  std::vector<Output> outputs;
  write(outputs, {h}, Bank::record, out.h);
  write(outputs, gradient.x, Bank::record, out.h_x);
  write(outputs, gradient.u, Bank::record, out.h_u);
  out.constants_first = s.q;
  ConstantPool constants(out.constants_first);
  out.program = assemble(tape, outputs, {}, constants);
  out.constants = constants.values();
  relocate(out.program, constants.end());
  out.fixed_count = constants.end() + out.program.temporaries;
  return out;
}

}  // namespace pontryagin
