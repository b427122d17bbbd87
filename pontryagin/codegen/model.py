"""The text of a Model: the formulas of one problem as a C++ class template over the type of a number.

The sweeps of csrc/include/pontryagin are templates over it. The text depends on the formulas alone and is the same in
every run; whoever opens the file sees the problem, its formulas and what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pontryagin.codegen.cut import choose_cut
from pontryagin.codegen.printer import Body, formula
from pontryagin.graph import Node, operation_count
from pontryagin.graph.order import inputs

#: Up to this many components a vector is taken apart into registers; larger ones are arrays with loops over them.
LARGEST_UNROLLED = 32

#: Models with more operations than this keep their functions and the stages of a step out of line.
LARGEST_INLINE = 400


def model_text(
    *,
    title: str,
    sizes: Mapping[str, int],
    dynamics: Sequence[Node],
    terminal: Sequence[Node],
    pullback: Sequence[Node] = (),
    terminal_pullback: Sequence[Node] = (),
    extended: bool = False,
    second_order: str = "",
) -> str:
    """The struct `Model`; without `pullback` it can only be swept forward.

    sizes: n, m, q, nd, equalities, r. dynamics: f (n), L; pullback: of w L + m.f in x (n), u (m), theta (q), t;
    terminal: phi, e (r); terminal_pullback: of omega_0 phi + omega.e in x (n), theta (q), t. The derivatives in theta
    and t are written only where `extended`. `second_order` is more text of the struct (second_order_text).
    """
    n, m = sizes["n"], sizes["m"]
    cut = choose_cut(_wanted(pullback, n + m, extended)) if pullback else []
    outlined = operation_count([*dynamics, *pullback]) > LARGEST_INLINE
    place = "PMP_NOINLINE" if outlined else "PMP_INLINE"
    parts = [_head(title, sizes, dynamics, len(cut)), _varying(dynamics[n])]

    targets = {f"f[{i}]": node for i, node in enumerate(dynamics[:n])} | {"L": dynamics[n]}
    parts.append(
        function_text(
            "x' = f and the running cost L, with the cut for the way back",
            f"template <class Cut>\n  {place} static void dynamics(Real t, const State& x, const Control& u, "
            "const Parameters& theta, const Data& d, State& f, Real& L, const Cut& cut)",
            "(void)t, (void)x, (void)u, (void)theta, (void)d, (void)cut;",
            Body(targets, kept=cut, outlined=outlined),
        )
    )
    if pullback:
        entering = [not node.is_value(0.0) for node in pullback[:n]]
        parts.append(_enters(entering))
        targets = {f"g.x[{i}]": node for i, node in enumerate(pullback[:n]) if entering[i]}
        targets |= {f"g.u[{i}]": node for i, node in enumerate(pullback[n : n + m])}
        if extended:
            targets |= {f"g.theta[{i}]": node for i, node in enumerate(pullback[n + m : -1])} | {"g.t": pullback[-1]}
        parts.append(
            function_text(
                "g = derivatives of w L + m.f" + (" in x, u, theta and t" if extended else " in x and u"),
                f"template <class Cut, class G>\n  {place} static void pullback(const Cut& cut, Real t, "
                "const Control& u, const Parameters& theta, const Data& d, Real w, const State& m, G& g)",
                "(void)cut, (void)t, (void)u, (void)theta, (void)d, (void)w, (void)m;",
                Body(targets, recalled=cut, outlined=outlined),
            )
        )
    targets = {"phi": terminal[0]} | {f"e[{i}]": node for i, node in enumerate(terminal[1:])}
    parts.append(
        function_text(
            "terminal cost phi and constraints e = (psi, gamma)",
            f"{place} static void terminal(Real t, const State& x, const Parameters& theta, Real& phi, "
            "Constraints& e, TerminalCut&)",
            "(void)t, (void)x, (void)theta, (void)e;",
            Body(targets, outlined=True),
        )
    )
    if pullback:
        targets = {f"g.x[{i}]": node for i, node in enumerate(terminal_pullback[:n])}
        if extended:
            targets |= {f"g.theta[{i}]": node for i, node in enumerate(terminal_pullback[n:-1])}
            targets |= {"g.t": terminal_pullback[-1]}
        parts.append(
            function_text(
                "g = derivatives of omega_0 phi + omega.e",
                f"template <class G>\n  {place} static void terminal_pullback(Real t, const State& x, "
                "const Parameters& theta, Real omega_0, const Constraints& omega, G& g)",
                "(void)t, (void)x, (void)theta, (void)omega_0, (void)omega;",
                Body(targets, given=omega_names(terminal_pullback), outlined=True),
            )
        )
    return "\n".join([*parts, *([second_order] if second_order else []), "};", ""])


def _wanted(pullback: Sequence[Node], first_order: int, extended: bool) -> Sequence[Node]:
    return pullback if extended else pullback[:first_order]


def omega_names(outputs: Sequence[Node]) -> dict[Node, str]:
    """omega_0 weighs the cost and is a number of its own in C++; the others are counted from the first constraint."""
    found = [node for node in inputs(list(outputs)) if node.group == "omega"]
    return {node: "omega_0" if node.index == 0 else f"omega[{node.index - 1}]" for node in found}


def _plain(title: str) -> str:
    """A name that cannot end a comment."""
    return "".join(c if c.isalnum() or c in " _-.,()" else " " for c in title)


def _varying(running_cost: Node) -> str:
    groups = {node.group for node in inputs([running_cost])}
    return "\n".join(
        f"  static constexpr bool {name}() {{ return {str(bool(groups & entering)).lower()}; }}"
        for name, entering in (("cost_varies", {"t", "x"}), ("cost_has_control", {"u"}), ("cost_has_data", {"d"}))
    )


def _enters(entering: Sequence[bool]) -> str:
    flags = ", ".join(str(e).lower() for e in entering)
    return f"""
  // which components of the state f and L depend on
  static constexpr bool enters(int i) {{
    constexpr bool flags[] = {{{flags}}};
    return flags[i];
  }}"""


def count_text(name: str, size: int) -> str:
    kind = f"Size<{size}>" if size <= LARGEST_UNROLLED else "int"
    value = "{}" if size <= LARGEST_UNROLLED else str(size)
    return f"  static constexpr {kind} {name}() {{ return {value}; }}"


def _head(title: str, sizes: Mapping[str, int], dynamics: Sequence[Node], cut: int) -> str:
    n = sizes["n"]
    formulas = [
        f"//     {name} = {text}"
        for name, node in [*((f"f[{i}]", node) for i, node in enumerate(dynamics[:n])), ("L", dynamics[n])]
        if (text := formula(node))
    ]
    arrays = {"State": n, "Control": sizes["m"], "Parameters": sizes["q"], "Data": sizes["nd"],
              "Constraints": sizes["r"]}  # fmt: skip
    return "\n".join(
        [
            f"// {_plain(title)}: {n} states, {sizes['m']} controls, {sizes['q']} parameters, {sizes['nd']} data,",
            f"// {sizes['r']} terminal constraints ({sizes['equalities']} of them equalities); "
            f"{cut} values kept a stage",
            *(["//", *formulas] if formulas else []),
            "template <class Number>",
            "struct Model {",
            "  using Real = Number;",
            *(f"  using {name} = Array<Real, {size}>;" for name, size in arrays.items()),
            "  struct TerminalCut {};",
            f"  static constexpr int cut_size = {cut};",
            *(count_text(name, sizes[name]) for name in ("n", "m", "q", "nd", "r")),
            f"  static constexpr int equalities() {{ return {sizes['equalities']}; }}",
        ]
    )


def function_text(comment: str, signature: str, unused: str, body: Body) -> str:
    statements = list(body.lines())
    lines = ["", f"  // {comment}: {body.operations} operations", f"  {signature} {{", f"    {unused}"]
    return "\n".join([*lines, *(f"    {line}" for line in statements), "  }"])
