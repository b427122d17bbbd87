// The Model of a captured problem: its graph, evaluated node by node on symbols.
#pragma once

#include <cstdint>
#include <vector>

#include "recorder/tape.hpp"

namespace pontryagin {

// Which vector an input of a graph belongs to. The order is shared with pontryagin/codegen/bytecode.py.
enum class Group : std::int32_t { t, x, u, theta, d, w, m, omega, count };

// A list of scalar operations in topological order, and which of them are the outputs.
// op[i] < op_count: operation on nodes a, b, c; Op::constant: value; Op::input: group a, index b.
struct Code {
  std::vector<std::int32_t> op, a, b, c;
  std::vector<double> value;
  std::vector<std::int32_t> outputs;
};

struct ModelSizes {
  int n = 0, m = 0, q = 0, nd = 0, equalities = 0, r = 0;
};

// Throws std::invalid_argument unless every index of `code` is in range for `sizes` and operands precede their use.
void validate(const Code& code, const ModelSizes& sizes, int outputs);

struct ModelCode {
  ModelSizes sizes;
  Code dynamics;           // f (n), L
  Code pullback;           // of w L + m.f: in x (n), u (m), theta (q), t
  Code terminal;           // phi, e (r)
  Code terminal_pullback;  // of omega_0 phi + omega.e: in x (n), theta (q), t
  void validate() const;
};

using Symbols = std::vector<Symbol>;

class GraphModel {
 public:
  using Real = Symbol;
  using State = Symbols;
  using Control = Symbols;
  using Parameters = Symbols;
  using Data = Symbols;
  using Constraints = Symbols;
  // Nothing but where the stage was: evaluating the graph there again meets the nodes that the tape already has.
  struct Cut {
    Symbols x;
  };
  using TerminalCut = Cut;
  struct StageGradient {
    Symbols x, u, theta;
    Symbol t;
  };

  explicit GraphModel(const ModelCode& code) : code_(code) {}
  int n() const { return code_.sizes.n; }
  int m() const { return code_.sizes.m; }
  int q() const { return code_.sizes.q; }
  int nd() const { return code_.sizes.nd; }
  int r() const { return code_.sizes.r; }
  int equalities() const { return code_.sizes.equalities; }
  // A recording drops zeros, and joins what is the same at all stages, by itself.
  bool enters(int) const { return true; }
  bool cost_varies() const { return true; }
  bool cost_has_control() const { return true; }
  bool cost_has_data() const { return true; }

  void dynamics(Symbol t, const Symbols& x, const Symbols& u, const Symbols& theta, const Symbols& d, Symbols& f,
                Symbol& L, Cut& cut) const;
  template <class G>
  void pullback(const Cut& cut, Symbol t, const Symbols& u, const Symbols& theta, const Symbols& d, Symbol w,
                const Symbols& m, G& gradient) const {
    const Symbols g = run(code_.pullback, {{t}, cut.x, u, theta, d, {w}, m, {}});
    split(g, gradient.x, gradient.u, gradient.theta, gradient.t);
  }
  void terminal(Symbol t, const Symbols& x, const Symbols& theta, Symbol& phi, Symbols& e, Cut& cut) const;
  StageGradient terminal_pullback(const Cut& cut, Symbol t, const Symbols& theta, Symbol omega_0,
                                  const Symbols& omega) const;

 private:
  static Symbols run(const Code& code, const std::vector<Symbols>& inputs);
  void split(const Symbols& g, Symbols& x, Symbols& u, Symbols& theta, Symbol& t) const;
  const ModelCode& code_;
};

}  // namespace pontryagin
