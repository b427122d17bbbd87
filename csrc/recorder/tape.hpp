// A tape of scalar operations, hash-consed: the same operation on the same operands is one node.
//
// `Symbol` is a scalar type whose arithmetic writes to a tape. The step templates run once on symbols; the tape is
// then assembled into programs that the interpreter runs on packs of lanes. So the recursion exists once, in step.hpp.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "pontryagin/opcode.hpp"

namespace pontryagin {

// Where an operand of a program lives. `fixed` holds what a whole sweep shares (step length, parameters,
// accumulators, constants, temporaries); `record` is the stored line of the node k at hand, `next` that of node k + 1.
enum class Bank : std::int32_t { fixed = 0, record = 1, next = 2 };

struct Place {
  Bank bank;
  std::int32_t slot;
  bool operator==(const Place& other) const { return bank == other.bank && slot == other.slot; }
};

struct TapeNode {
  Op op;
  std::int32_t a = -1, b = -1, c = -1;  // operands; an input keeps bank and slot in a and b
  double value = 0.0;                   // of a constant
};

class Tape {
 public:
  int constant(double value);
  int input(Place place);
  int apply(Op op, int a, int b = -1, int c = -1);

  const TapeNode& operator[](int id) const { return nodes_[static_cast<std::size_t>(id)]; }
  int size() const { return static_cast<int>(nodes_.size()); }

 private:
  struct Key {
    std::int32_t op, a, b, c;
    std::uint64_t bits;
    bool operator==(const Key& o) const { return op == o.op && a == o.a && b == o.b && c == o.c && bits == o.bits; }
  };
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };
  int intern(const TapeNode& node);
  bool is(int id, double value) const;
  bool is_constant(int id) const;
  bool is_step_weight(int id) const;
  // The node that `op` of these operands simplifies to, or -1.
  int fold(Op op, int a, int b, int c);

  std::vector<TapeNode> nodes_;
  std::unordered_map<Key, int, Hash> known_;
};

// Plain arithmetic of one operation in double: constant folding uses it. Returns false where it is not simple.
bool evaluate(Op op, double a, double b, double c, double& result);

class Symbol {
 public:
  Symbol() : id_(-1) {}
  explicit Symbol(double value) : id_(tape().constant(value)) {}
  static Symbol node(int id) {
    Symbol s;
    s.id_ = id;
    return s;
  }
  static Symbol input(Place place) { return node(tape().input(place)); }
  static Symbol apply(Op op, Symbol a, Symbol b = {}, Symbol c = {}) {
    return node(tape().apply(op, a.id_, b.id_, c.id_));
  }
  int id() const { return id_; }

  // The tape that symbols of this thread write to, while a recording is alive.
  class Recording {
   public:
    explicit Recording(Tape& tape) : before_(current_) { current_ = &tape; }
    ~Recording() { current_ = before_; }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

   private:
    Tape* before_;
  };

 private:
  static Tape& tape() { return *current_; }
  static thread_local Tape* current_;
  int id_;
};

inline Symbol operator+(Symbol a, Symbol b) { return Symbol::apply(Op::add, a, b); }
inline Symbol operator-(Symbol a, Symbol b) { return Symbol::apply(Op::sub, a, b); }
inline Symbol operator*(Symbol a, Symbol b) { return Symbol::apply(Op::mul, a, b); }
inline Symbol operator/(Symbol a, Symbol b) { return Symbol::apply(Op::div, a, b); }
inline Symbol operator<(Symbol a, Symbol b) { return Symbol::apply(Op::lt, a, b); }
inline Symbol operator==(Symbol a, Symbol b) { return Symbol::apply(Op::eq, a, b); }
inline Symbol fma(Symbol a, Symbol b, Symbol c) { return Symbol::apply(Op::fma, a, b, c); }
inline Symbol max(Symbol a, Symbol b) { return Symbol::apply(Op::max, a, b); }
inline Symbol select(Symbol mask, Symbol a, Symbol b) { return Symbol::apply(Op::where, mask, a, b); }

}  // namespace pontryagin
