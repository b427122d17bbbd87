#include "recorder/tape.hpp"

#include <cmath>
#include <cstring>
#include <utility>

namespace pontryagin {

thread_local Tape* Symbol::current_ = nullptr;

namespace {

std::uint64_t bits_of(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

bool commutes(Op op) { return op == Op::add || op == Op::mul || op == Op::eq || op == Op::ne; }

}  // namespace

std::size_t Tape::Hash::operator()(const Key& key) const {
  std::uint64_t h = 0x9e3779b97f4a7c15u;
  for (std::uint64_t part : {static_cast<std::uint64_t>(key.op), static_cast<std::uint64_t>(key.a),
                             static_cast<std::uint64_t>(key.b), static_cast<std::uint64_t>(key.c), key.bits}) {
    h = (h ^ part) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  }
  return static_cast<std::size_t>(h);
}

int Tape::intern(const TapeNode& node) {
  const Key key{static_cast<std::int32_t>(node.op), node.a, node.b, node.c, bits_of(node.value)};
  const auto found = known_.find(key);
  if (found != known_.end()) return found->second;
  const int id = size();
  nodes_.push_back(node);
  known_.emplace(key, id);
  return id;
}

int Tape::constant(double value) {
  TapeNode node{Op::constant};
  node.value = value;
  return intern(node);
}

int Tape::input(Place place) {
  TapeNode node{Op::input};
  node.a = static_cast<std::int32_t>(place.bank);
  node.b = place.slot;
  return intern(node);
}

bool Tape::is_constant(int id) const { return id >= 0 && (*this)[id].op == Op::constant; }

bool Tape::is(int id, double value) const { return is_constant(id) && (*this)[id].value == value; }

bool evaluate(Op op, double a, double b, double c, double& result) {
  switch (op) {
    case Op::neg: result = -a; return true;
    case Op::add: result = a + b; return true;
    case Op::sub: result = a - b; return true;
    case Op::mul: result = a * b; return true;
    case Op::div: result = a / b; return true;
    case Op::fma: result = std::fma(a, b, c); return true;
    default: return false;
  }
}

// A constant times an input: what the step length times a weight looks like.
bool Tape::is_step_weight(int id) const {
  const TapeNode& node = (*this)[id];
  if (node.op == Op::input) return false;
  return node.op == Op::mul && ((is_constant(node.a) && (*this)[node.b].op == Op::input) ||
                                (is_constant(node.b) && (*this)[node.a].op == Op::input));
}

int Tape::fold(Op op, int a, int b, int c) {
  const bool constants = is_constant(a) && (b < 0 || is_constant(b)) && (c < 0 || is_constant(c));
  double value = 0.0;
  if (constants &&
      evaluate(op, (*this)[a].value, b < 0 ? 0.0 : (*this)[b].value, c < 0 ? 0.0 : (*this)[c].value, value))
    return constant(value);
  switch (op) {
    case Op::neg:
      if ((*this)[a].op == Op::neg) return (*this)[a].a;
      break;
    case Op::add:
      if (is(a, 0.0)) return b;
      if (is(b, 0.0)) return a;
      // (x + y) + y = 2 y + x.
      for (const auto& [sum, term] : {std::pair<int, int>{a, b}, std::pair<int, int>{b, a}}) {
        if ((*this)[sum].op != Op::add || is_constant(term)) continue;
        const TapeNode inner = (*this)[sum];
        if (inner.a == term) return apply(Op::fma, constant(2.0), term, inner.b);
        if (inner.b == term) return apply(Op::fma, constant(2.0), term, inner.a);
      }
      // k h + l h = (k + l) h: the weights of a tableau times the step length.
      if ((*this)[a].op == Op::mul && (*this)[b].op == Op::mul) {
        const TapeNode left = (*this)[a], right = (*this)[b];
        if (is_constant(left.a) && is_constant(right.a) && left.b == right.b)
          return apply(Op::mul, constant((*this)[left.a].value + (*this)[right.a].value), left.b);
        if (is_constant(left.b) && is_constant(right.b) && left.a == right.a)
          return apply(Op::mul, constant((*this)[left.b].value + (*this)[right.b].value), left.a);
      }
      break;
    case Op::sub:
      if (is(b, 0.0)) return a;
      if (is(a, 0.0)) return apply(Op::neg, b);
      break;
    // A constant zero here is structural (a tableau or a derivative that vanishes identically): it absorbs.
    case Op::mul:
      if (is(a, 0.0)) return a;
      if (is(b, 0.0)) return b;
      if (is(a, 1.0)) return b;
      if (is(b, 1.0)) return a;
      if (is(a, -1.0)) return apply(Op::neg, b);
      if (is(b, -1.0)) return apply(Op::neg, a);
      // k (w y) = (k w) y for the weight w of a stage, so that k w is computed once for all steps.
      for (const auto& [factor, product] : {std::pair<int, int>{a, b}, std::pair<int, int>{b, a}}) {
        if (!is_constant(factor) || (*this)[product].op != Op::mul) continue;
        const TapeNode inner = (*this)[product];
        for (const auto& [weight, rest] :
             {std::pair<int, int>{inner.a, inner.b}, std::pair<int, int>{inner.b, inner.a}}) {
          if (is_constant(weight) && (*this)[rest].op == Op::input)
            return apply(Op::mul, constant((*this)[factor].value * (*this)[weight].value), rest);
          if (is_step_weight(weight)) return apply(Op::mul, apply(Op::mul, factor, weight), rest);
        }
      }
      break;
    case Op::div:
      if (is(b, 1.0)) return a;
      if (is(a, 0.0)) return a;
      break;
    case Op::fma:
      if (is(a, 0.0) || is(b, 0.0)) return c;
      if (is(a, 1.0)) return apply(Op::add, b, c);
      if (is(b, 1.0)) return apply(Op::add, a, c);
      if (is(a, -1.0)) return apply(Op::sub, c, b);
      if (is(b, -1.0)) return apply(Op::sub, c, a);
      if (is(c, 0.0)) return apply(Op::mul, a, b);
      // a b + (a' b + c') = (a + a') b + c': a running cost that is the same at several stages.
      if ((*this)[c].op == Op::fma) {
        const TapeNode inner = (*this)[c];
        for (int first : {a, b})
          for (int second : {inner.a, inner.b}) {
            const int factor = first == a ? b : a;
            if (factor != (second == inner.a ? inner.b : inner.a)) continue;
            const int sum = is_step_weight(first) && is_step_weight(second) ? apply(Op::add, first, second) : -1;
            if (sum >= 0) return apply(Op::fma, sum, factor, inner.c);
          }
      }
      break;
    case Op::where:
      if (is_constant(a)) return (*this)[a].value != 0.0 ? b : c;
      if (b == c) return b;
      break;
    default: break;
  }
  return -1;
}

int Tape::apply(Op op, int a, int b, int c) {
  const int folded = fold(op, a, b, c);
  if (folded >= 0) return folded;
  if ((commutes(op) || op == Op::fma) && a > b) std::swap(a, b);
  TapeNode node{op};
  node.a = a;
  node.b = b;
  node.c = c;
  return intern(node);
}

}  // namespace pontryagin
