"""The second-order sections of a Model: Jacobians and Hessians, their structural nonzeros alone.

A matrix `jacobian` becomes, in the struct Model,

    using Jacobian = Array<Real, 8>;                      the entries, by rows
    static constexpr Size<8> jacobian_count();            how many there are
    static constexpr int jacobian_rows[], jacobian_columns[]

and a function that fills them. Of a symmetric matrix these are the entries of the lower triangle. Arrays without
entries have one that means nothing, because C++ has no empty ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pontryagin.codegen.model import LARGEST_INLINE, count_text, function_text, omega_names
from pontryagin.codegen.printer import Body
from pontryagin.graph import Node, operation_count

Matrix = Mapping[tuple[int, int], Node]

#: (declaration, name) of what functions on the path, and those at the end, are given.
_ALONG = (("Real", "t"), ("const State&", "x"), ("const Control&", "u"), ("const Parameters&", "theta"),
          ("const Data&", "d"))  # fmt: skip
_END = (("Real", "t"), ("const State&", "x"), ("const Parameters&", "theta"))


def second_order_text(
    *,
    dynamics: Sequence[Node],
    jacobian: Matrix,
    gradient: Sequence[Node],
    hessian: Matrix,
    path: Sequence[Node],
    path_jacobian: Matrix,
    path_hessian: Matrix,
    terminal_jacobian: Matrix,
    terminal_hessian: Matrix,
) -> str:
    """The sections, for `model_text(second_order=...)`. The arguments are those of pontryagin.second_order."""
    n = len(dynamics) - 1
    f_and_L = {f"f[{i}]": node for i, node in enumerate(dynamics[:n])} | {"L": dynamics[n]}
    slopes = {f"g.x[{i}]": node for i, node in enumerate(gradient[:n])}
    slopes |= {f"g.u[{j}]": node for j, node in enumerate(gradient[n:])}
    stage = (("Real", "w"), ("const State&", "m"))
    node = (("const Path&", "mu"),)
    end = (("Real", "omega_0"), ("const Constraints&", "omega"))
    return "\n".join(
        [
            "",
            "  // ---- second order, with z = (x, u); matrices as lists of their entries, by rows ----",
            *_matrix("jacobian", jacobian),
            _function("f, L and the Jacobian J of f in z", "jacobian", _ALONG,
                      f_and_L | _entries("J", jacobian), "State& f, Real& L, Jacobian& J"),
            *_matrix("hessian", hessian),
            _function("g = gradient, H = Hessian of w L + m.f in z", "hessian", (*_ALONG, *stage),
                      slopes | _entries("H", hessian), "G& g, Hessian& H", template="template <class G>\n  "),
            "",
            f"  using Path = Array<Real, {len(path)}>;",
            count_text("path_count", len(path)),
            _function("path constraints c <= 0", "path", _ALONG,
                      {f"c[{i}]": value for i, value in enumerate(path)}, "Path& c"),
            *_matrix("path_jacobian", path_jacobian),
            _function("Jacobian J of c in z", "path_jacobian", _ALONG,
                      _entries("J", path_jacobian), "PathJacobian& J"),
            *_matrix("path_hessian", path_hessian),
            _function("H = Hessian of mu.c in z", "path_hessian", (*_ALONG, *node),
                      _entries("H", path_hessian), "PathHessian& H"),
            *_matrix("terminal_jacobian", terminal_jacobian),
            _function("Jacobian J of e in x", "terminal_jacobian", _END,
                      _entries("J", terminal_jacobian), "TerminalJacobian& J", once=True),
            *_matrix("terminal_hessian", terminal_hessian),
            _function("H = Hessian of omega_0 phi + omega.e in x", "terminal_hessian", (*_END, *end),
                      _entries("H", terminal_hessian), "TerminalHessian& H", once=True),
        ]
    )  # fmt: skip


def _matrix(name: str, matrix: Matrix) -> Iterator[str]:
    """The type of the list of entries, their number and their places."""
    yield ""
    yield f"  using {name.title().replace('_', '')} = Array<Real, {len(matrix)}>;"
    yield count_text(f"{name}_count", len(matrix))
    for axis, places in (("rows", [i for i, _ in matrix]), ("columns", [j for _, j in matrix])):
        yield f"  static constexpr int {name}_{axis}[] = {{{', '.join(map(str, places or [-1]))}}};"


def _entries(target: str, matrix: Matrix) -> dict[str, Node]:
    return {f"{target}[{k}]": entry for k, entry in enumerate(matrix.values())}


def _function(
    comment: str,
    name: str,
    given: Sequence[tuple[str, str]],
    targets: Mapping[str, Node],
    results: str,
    template: str = "",
    once: bool = False,
) -> str:
    """`once`: it runs once in a sweep, and compiles faster out of line."""
    outputs = list(targets.values())
    outlined = once or operation_count(outputs) > LARGEST_INLINE
    arguments = ", ".join(f"{kind} {argument}" for kind, argument in given)
    names = [argument for _, argument in given] + [result.split()[-1] for result in results.split(", ")]
    return function_text(
        comment,
        f"{template}{'PMP_NOINLINE' if outlined else 'PMP_INLINE'} static void {name}({arguments}, {results})",
        ", ".join(f"(void){argument}" for argument in names) + ";",
        Body(targets, given=omega_names(outputs), outlined=outlined),
    )
