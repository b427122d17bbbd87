#include "recorder/assembler.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace pontryagin {

Place ConstantPool::place(double value) {
  for (std::size_t i = 0; i < values_.size(); ++i)
    if (std::memcmp(&values_[i], &value, sizeof value) == 0) return {Bank::fixed, first_ + static_cast<int>(i)};
  values_.push_back(value);
  return {Bank::fixed, end() - 1};
}

bool ConstantPool::find(Place place, double& value) const {
  if (place.bank != Bank::fixed || place.slot < first_ || place.slot >= end()) return false;
  value = values_[static_cast<std::size_t>(place.slot - first_)];
  return true;
}

namespace {

constexpr int deepest_tree = 400;  // expression trees are emitted by recursion

bool is_fused(Op op) { return op == Op::fma || op == Op::fnma || op == Op::fms; }

std::int64_t key(Place place) { return (static_cast<std::int64_t>(place.bank) << 32) | place.slot; }

class Assembler {
 public:
  Assembler(const Tape& tape, const std::vector<Output>& outputs, const Given& given, ConstantPool& constants)
      : outputs_(outputs), given_(given), constants_(constants) {
    nodes_.reserve(static_cast<std::size_t>(tape.size()));
    for (int i = 0; i < tape.size(); ++i) nodes_.push_back(tape[i]);
    const std::size_t count = nodes_.size();
    reached_.assign(count, 0);
    uses_.assign(count, 0);
    root_.assign(count, 0);
    depth_.assign(count, 0);
    partner_.assign(count, -1);
    where_.assign(count, Place{Bank::fixed, -1});
    stored_.assign(count, 0);
  }

  Program run() {
    reach(false);
    fuse();
    reach(true);
    pair_sines();
    mark_roots();
    count_reads();
    for (int id = 0; id < static_cast<int>(nodes_.size()); ++id)
      if (reached_[id] && root_[id] && !is_leaf(id) && !stored_[id]) emit_root(id);
    finish_copies();
    add_negated_constants();
    program_.code.push_back({Op::halt, Accumulator::none, false, {}, {}, {}, {}});
    return std::move(program_);
  }

 private:
  using Index = std::size_t;

  bool is_leaf(int id) const {
    const Op op = nodes_[id].op;
    return op == Op::constant || op == Op::input || given_.count(id) != 0;
  }

  Place leaf_place(int id) {
    const auto found = given_.find(id);
    if (found != given_.end()) return found->second;
    const TapeNode& node = nodes_[id];
    if (node.op == Op::constant) return constants_.place(node.value);
    return {static_cast<Bank>(node.a), node.b};
  }

  static int operands(const TapeNode& node, int out[3]) {
    const int count = arity(node.op);
    const int all[3] = {node.a, node.b, node.c};
    std::copy(all, all + count, out);
    return count;
  }

  // Marks what the outputs need and counts uses. Operands have smaller ids than their users.
  void reach(bool with_aside) {
    std::fill(reached_.begin(), reached_.end(), 0);
    std::fill(uses_.begin(), uses_.end(), 0);
    for (const Output& output : outputs_) {
      if (output.aside && !with_aside) continue;
      reached_[output.node] = 1;
      ++uses_[output.node];
    }
    for (int id = static_cast<int>(nodes_.size()) - 1; id >= 0; --id) {
      if (!reached_[id] || is_leaf(id)) continue;
      int ops[3];
      const int count = operands(nodes_[id], ops);
      for (int k = 0; k < count; ++k) {
        reached_[ops[k]] = 1;
        ++uses_[ops[k]];
      }
    }
  }

  bool only_use(int id, Op op) const { return !is_leaf(id) && nodes_[id].op == op && uses_[id] == 1; }

  // A product that is used once, in a sum, becomes a fused multiply-add.
  void fuse() {
    for (Index id = 0; id < nodes_.size(); ++id) {
      TapeNode& node = nodes_[id];
      if (!reached_[id] || is_leaf(static_cast<int>(id))) continue;
      if (node.op == Op::add) {
        int product = node.b, other = node.a;
        if (!only_use(product, Op::mul)) std::swap(product, other);
        if (!only_use(product, Op::mul)) continue;
        node = fused(Op::fma, product, other);
      } else if (node.op == Op::sub) {
        if (only_use(node.b, Op::mul)) node = fused(Op::fnma, node.b, node.a);
        else if (only_use(node.a, Op::mul)) node = fused(Op::fms, node.a, node.b);
      } else if (node.op == Op::fma) {
        for (int swap = 0; swap < 2 && node.op == Op::fma; ++swap) {
          if (only_use(node.a, Op::neg)) {
            node.a = nodes_[node.a].a;
            node.op = Op::fnma;
          } else {
            std::swap(node.a, node.b);
          }
        }
        if (node.op == Op::fma && only_use(node.c, Op::neg)) {
          node.c = nodes_[node.c].a;
          node.op = Op::fms;
        }
      }
    }
  }

  TapeNode fused(Op op, int product, int other) const {
    TapeNode node{op};
    node.a = nodes_[product].a;
    node.b = nodes_[product].b;
    node.c = other;
    return node;
  }

  void pair_sines() {
    std::unordered_map<int, int> sine;
    for (int id = 0; id < static_cast<int>(nodes_.size()); ++id)
      if (reached_[id] && !is_leaf(id) && nodes_[id].op == Op::sin) sine[nodes_[id].a] = id;
    for (int id = 0; id < static_cast<int>(nodes_.size()); ++id) {
      if (!reached_[id] || is_leaf(id) || nodes_[id].op != Op::cos) continue;
      const auto found = sine.find(nodes_[id].a);
      if (found == sine.end()) continue;
      partner_[id] = found->second;
      partner_[found->second] = id;
    }
  }

  // A root is written to memory when computed; every other value lives in the accumulator only.
  void mark_roots() {
    for (const Output& output : outputs_) root_[output.node] = 1;
    for (Index id = 0; id < nodes_.size(); ++id) {
      if (!reached_[id] || is_leaf(static_cast<int>(id))) continue;
      if (uses_[id] > 1 || partner_[id] >= 0) root_[id] = 1;
      int ops[3];
      const int count = operands(nodes_[id], ops);
      for (int k = 0; k < count; ++k)
        if (!root_[ops[k]] && !is_leaf(ops[k])) depth_[id] = std::max(depth_[id], depth_[ops[k]] + 1);
      if (depth_[id] > deepest_tree) root_[id] = 1;
    }
  }

  // How often each place is read before the program may write an output to it.
  void count_reads() {
    for (Index id = 0; id < nodes_.size(); ++id) {
      if (!reached_[id] || is_leaf(static_cast<int>(id))) continue;
      int ops[3];
      const int count = operands(nodes_[id], ops);
      for (int k = 0; k < count; ++k)
        if (is_leaf(ops[k])) ++reads_[key(leaf_place(ops[k]))];
    }
    for (const Output& output : outputs_) {
      if (!is_leaf(output.node)) targets_[output.node].push_back(output.place);
      else ++reads_[key(leaf_place(output.node))];
    }
  }

  Place new_temporary() {
    if (!free_.empty()) {
      const std::int32_t slot = free_.back();
      free_.pop_back();
      return {Bank::fixed, slot};
    }
    return {Bank::fixed, temporary_base + program_.temporaries++};
  }

  void release(Place place) {
    if (place.bank == Bank::fixed && place.slot >= temporary_base) free_.push_back(place.slot);
  }

  // The place of a value in memory; counts this use of it as done.
  Place read(int id) {
    --uses_[id];
    if (is_leaf(id)) {
      const Place place = leaf_place(id);
      --reads_[key(place)];
      return place;
    }
    const Place place = where_[id];
    if (uses_[id] == 0) release(place);
    return place;
  }

  // Where a root goes: its output place if nobody needs what is there now, else a temporary.
  Place choose_place(int id) {
    const auto found = targets_.find(id);
    if (found != targets_.end()) {
      for (Index i = 0; i < found->second.size(); ++i) {
        if (reads_[key(found->second[i])] > 0) continue;
        const Place place = found->second[i];
        found->second.erase(found->second.begin() + static_cast<std::ptrdiff_t>(i));
        --uses_[id];
        return place;
      }
    }
    return new_temporary();
  }

  void emit_root(int id) {
    const int partner = partner_[id];
    if (partner >= 0) {
      const bool is_sine = nodes_[id].op == Op::sin;
      const int sine = is_sine ? id : partner, cosine = is_sine ? partner : id;
      const int angle = nodes_[id].a;  // used by both, so it is in memory
      const Accumulator accumulator = angle == in_accumulator_ ? Accumulator::first : Accumulator::none;
      const Place x = read(angle);
      read_again(angle);
      where_[sine] = choose_place(sine);
      where_[cosine] = choose_place(cosine);
      program_.code.push_back({Op::sincos, accumulator, true, where_[sine], x, {}, where_[cosine]});
      stored_[sine] = stored_[cosine] = 1;
      in_accumulator_ = sine;
      return;
    }
    emit(id);
    Instruction& instruction = program_.code.back();
    where_[id] = choose_place(id);
    instruction.to = where_[id];
    instruction.store = true;
    stored_[id] = 1;
  }

  // The second of a pair's two uses of their common argument.
  void read_again(int id) {
    --uses_[id];
    if (is_leaf(id)) --reads_[key(leaf_place(id))];
    else if (uses_[id] == 0) release(where_[id]);
  }

  bool in_memory(int id) const { return is_leaf(id) || stored_[id]; }

  void evaluate_to_memory(int id) {
    if (in_memory(id)) return;
    emit_root(id);
  }

  // Emits what computes `id` into the accumulator.
  void emit(int id) {
    const TapeNode node = nodes_[id];
    int ops[3] = {-1, -1, -1};
    const int count = operands(node, ops);
    if (node.op == Op::where) {  // three operands, none of them the accumulator
      for (int k = 0; k < count; ++k) evaluate_to_memory(ops[k]);
      push(id, node.op, Accumulator::none, ops, count);
      return;
    }
    if (emit_triple(id, node)) return;
    // At most one operand tree may stay in the accumulator, and it must be the one evaluated last.
    int last = -1;
    for (int k = 0; k < count; ++k)
      if (!in_memory(ops[k]) && (last < 0 || depth_[ops[k]] < depth_[ops[last]])) last = k;
    for (int k = 0; k < count; ++k)
      if (k != last) evaluate_to_memory(ops[k]);
    if (last >= 0) emit(ops[last]);
    else
      for (int k = 0; k < count && last < 0; ++k)
        if (ops[k] == in_accumulator_) last = k;
    Accumulator accumulator = Accumulator::none;
    if (last >= 0) {
      if (last == 1 && (is_fused(node.op) || node.op == Op::add || node.op == Op::mul)) {
        std::swap(ops[0], ops[1]);
        last = 0;
      }
      accumulator = last == 0 ? Accumulator::first : Accumulator::last;
    }
    push(id, node.op, accumulator, ops, count);
  }

  // A sum with a product of three factors: the rest of the sum stays in the accumulator.
  bool emit_triple(int id, const TapeNode& node) {
    if (node.op != Op::fma && node.op != Op::fnma) return false;
    int product = node.a, factor = node.b;
    if (!only_in_accumulator(product) || nodes_[product].op != Op::mul) std::swap(product, factor);
    if (!only_in_accumulator(product) || nodes_[product].op != Op::mul) return false;
    int ops[3] = {nodes_[product].a, nodes_[product].b, factor};
    const bool all_there = in_memory(ops[0]) && in_memory(ops[1]) && in_memory(ops[2]);
    if (in_memory(node.c) && !(all_there && node.c == in_accumulator_)) return false;
    for (int operand : ops) evaluate_to_memory(operand);
    if (in_memory(node.c)) read(node.c);
    else emit(node.c);
    --uses_[product];
    push(id, node.op == Op::fma ? Op::fma3 : Op::fnma3, Accumulator::none, ops, 3);
    return true;
  }

  bool only_in_accumulator(int id) const { return !in_memory(id) && !root_[id]; }

  void push(int id, Op op, Accumulator accumulator, const int* ops, int count) {
    Instruction instruction{op, accumulator, false, {}, {}, {}, {}};
    Place* places[3] = {&instruction.a, &instruction.b, &instruction.c};
    const int skipped = accumulator == Accumulator::none ? -1 : accumulator == Accumulator::first ? 0 : count - 1;
    for (int k = 0; k < count; ++k) {
      if (k == skipped) {
        // The value may be in memory too: this use of it is done all the same.
        if (in_memory(ops[k])) read(ops[k]);
        continue;
      }
      *places[k] = read(ops[k]);
    }
    program_.code.push_back(instruction);
    in_accumulator_ = id;
  }

  // Outputs that are leaves, or whose place was still being read when they were computed.
  void finish_copies() {
    std::vector<std::pair<Place, Place>> moves;  // from, to
    for (const Output& output : outputs_)
      if (is_leaf(output.node)) {
        const Place from = leaf_place(output.node);
        if (!(from == output.place)) moves.emplace_back(from, output.place);
      }
    for (const auto& [id, places] : sorted(targets_))
      for (const Place& place : places) moves.emplace_back(where_[id], place);
    // A source that is also a target is saved first.
    for (auto& move : moves) {
      const bool clash = std::any_of(moves.begin(), moves.end(), [&](const auto& m) { return m.second == move.first; });
      if (!clash) continue;
      const Place saved{Bank::fixed, temporary_base + program_.temporaries++};
      program_.code.push_back({Op::copy, Accumulator::none, true, saved, move.first, {}, {}});
      move.first = saved;
    }
    for (const auto& move : moves)
      program_.code.push_back({Op::copy, Accumulator::none, true, move.second, move.first, {}, {}});
  }

  // c - k b is c + (-k) b, to the bit: the machines do more to be fast at adding.
  void add_negated_constants() {
    for (Instruction& instruction : program_.code) {
      if (instruction.op != Op::fnma && instruction.op != Op::fnma3) continue;
      Place* const factors[] = {&instruction.a, &instruction.b, &instruction.c};
      const int begin = instruction.accumulator == Accumulator::first ? 1 : 0;
      const int end = instruction.op == Op::fnma ? 2 : 3;
      for (int k = begin; k < end; ++k) {
        double value;
        if (!constants_.find(*factors[k], value)) continue;
        *factors[k] = constants_.place(-value);
        instruction.op = instruction.op == Op::fnma ? Op::fma : Op::fma3;
        break;
      }
    }
  }

  using Targets = std::unordered_map<int, std::vector<Place>>;
  static std::vector<std::pair<int, std::vector<Place>>> sorted(const Targets& targets) {
    std::vector<std::pair<int, std::vector<Place>>> out(targets.begin(), targets.end());
    std::sort(out.begin(), out.end(), [](const auto& l, const auto& r) { return l.first < r.first; });
    return out;
  }

  const std::vector<Output>& outputs_;
  const Given& given_;
  ConstantPool& constants_;
  std::vector<TapeNode> nodes_;
  std::vector<char> reached_, root_, stored_;
  std::vector<int> uses_, depth_, partner_;
  std::vector<Place> where_;
  std::unordered_map<std::int64_t, int> reads_;
  Targets targets_;
  std::vector<std::int32_t> free_;
  int in_accumulator_ = -1;
  Program program_;
};

}  // namespace

Program assemble(const Tape& tape, const std::vector<Output>& outputs, const Given& given, ConstantPool& constants) {
  return Assembler(tape, outputs, given, constants).run();
}

bool reads(const Program& program, Place place) {
  return std::any_of(program.code.begin(), program.code.end(), [place](const Instruction& i) {
    return i.a == place || i.b == place || (i.c == place && i.op != Op::sincos);
  });
}

std::string listing(const Program& program) {
  static const char* const names[] = {
#define X(name, arity) #name,
      PMP_OPERATIONS(X)
#undef X
  };
  const auto text = [](Place place) { return "frn"[static_cast<int>(place.bank)] + std::to_string(place.slot); };
  std::string out;
  for (const Instruction& i : program.code) {
    out += (i.store ? text(i.to) : std::string("acc"));
    if (i.op == Op::sincos) out += ", " + text(i.c);
    out += std::string(" = ") + names[static_cast<int>(i.op)];
    const Place places[] = {i.a, i.b, i.c};
    const int count = arity(i.op);
    const int skipped = i.accumulator == Accumulator::none ? -1 : i.accumulator == Accumulator::first ? 0 : count - 1;
    for (int k = 0; k < count; ++k) out += " " + (k == skipped ? std::string("acc") : text(places[k]));
    out += "\n";
  }
  return out;
}

void relocate(Program& program, int first_slot) {
  for (Instruction& instruction : program.code)
    for (Place* place : {&instruction.to, &instruction.a, &instruction.b, &instruction.c})
      if (place->bank == Bank::fixed && place->slot >= temporary_base) place->slot += first_slot - temporary_base;
}

}  // namespace pontryagin
