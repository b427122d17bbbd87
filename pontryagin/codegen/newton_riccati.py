"""One step of the Riccati recursion without loops, for the sizes and the zeros of one problem.

Statements and their order are those of csrc/include/pontryagin/newton_riccati.hpp, which explains them. What is
left out are products with zeros and ones in F_z, so that results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: Longer steps are left to the loops of the core.
LARGEST_RICCATI = 3000


@dataclass(frozen=True)
class RiccatiShape:
    """Sizes, and for each entry of F_z (n, nz) 0 or 1 where it is that and None where it is any number."""

    n: int
    ns: int
    nz: int
    moved: int  # controls of a linear control, which are states
    ends: int  # equalities
    jacobian: Sequence[Sequence[float | None]]

    @property
    def operations(self) -> int:
        """Roughly, as if nothing were zero."""
        n, ns, nz, nv = self.n, self.ns, self.nz, self.nz - self.ns
        ends = self.ends * (nz * n + ns * nv + nv * nv) + self.ends * (self.ends + 1) // 2 * nv
        return ns * n * nz + n * nz * (nz + 1) // 2 + nv * ns * (ns + 1) // 2 + ends


def riccati_text(shape: RiccatiShape) -> str:
    """The functions of RICCATI; `riccati_end` only where there is an end."""
    writer = _Writer(shape)
    parts = [
        ("back", "Q, its factors, K and P of step k", "RiccatiRows", _BACK, writer.back()),
        ("pull", "q, kappa and what is left of the end", "RiccatiPullRows", _PULL, writer.pull()),
        ("move", "costate, control and the next state", "RiccatiMoveRows", _MOVE, writer.move()),
        ("left", "derivative that is left over", "RiccatiLeftRows", _LEFT, writer.left()),
        ("end", "columns of the end", "RiccatiEndRows", _END, writer.end()),
    ]
    texts = []
    for name, comment, rows, arrays, lines in parts[: None if shape.ends else -1]:
        given = ", ".join(f"{array}{{rows.{array}}}" for array in arrays[0])
        found = ", ".join(f"{array}{{rows.{array}}}" for array in arrays[1])
        body = "\n".join(f"    {line}" for line in lines)
        texts.append(
            f"\n  // {comment}\n  static void riccati_{name}(const {rows}& rows) {{\n"
            f"    const RowsIn<Real> {given};\n    const RowsOut<Real> {found};\n{body}\n  }}"
        )
    return "\n".join(texts)


#: What the core asks for, in its order.
RICCATI = ("back", "pull", "move", "left", "end")

_PULL = (
    ["next_slope", "next_value", "next_columns", "defect", "jacobian", "gradient", "gain", "factor", "feed", "rest"],
    ["slope", "kappa", "left"],
)
_MOVE = (
    ["slope", "value", "columns", "gain", "kappa", "feed", "jacobian", "defect", "nu", "state"],
    ["costate", "step", "control", "next_state"],
)
_LEFT = (
    ["next_costate", "costate", "jacobian", "hessian", "gradient", "regular", "proximal", "state", "control"],
    ["left"],
)
_BACK = (["next_value", "jacobian", "hessian", "regular", "proximal"], ["value", "gain", "factor", "good"])
_END = (["next_columns", "jacobian", "gain", "factor", "sum"], ["columns", "feed", "added"])


class _Writer:
    def __init__(self, shape: RiccatiShape) -> None:
        self.shape, self.nv = shape, shape.nz - shape.ns

    def back(self) -> Iterator[str]:
        """P J, Q = H + J' P J + delta D, L L' = Q_vv, X = L^{-1} Q_vs, P = Q_ss - X' X, K = -L^{-T} X."""
        n, ns, nz, moved, nv = self.shape.n, self.shape.ns, self.shape.nz, self.shape.moved, self.nv
        there: set[tuple[int, int]] = set()  # what is not zero in P J
        for i in range(ns):
            row = [f"next_value[{i * ns + j}]" for j in range(ns)]
            for c in range(nz):
                terms = [(row[j], self._entry(j, c)) for j in range(n)]
                if c >= ns and c - ns < moved:
                    terms.append((row[n + c - ns], 1.0))
                elif n + moved <= c < ns:
                    terms.append((row[c], 1.0))
                total = _sum(None, terms)
                if total is not None:
                    there.add((i, c))
                    yield f"const Real m{i}_{c} = {total};"
        for a in range(nz):
            carried = a if n + moved <= a < ns else n + a - ns if ns <= a < ns + moved else -1
            for c in range(a + 1):
                terms = [(f"m{j}_{c}", self._entry(j, a)) for j in range(n) if (j, c) in there]
                total = _sum(f"hessian[{a * (a + 1) // 2 + c}]", terms)
                if a == c:
                    total = f"fma(regular[0], proximal[{a}], {total})"
                if carried >= 0 and (carried, c) in there:
                    total = f"m{carried}_{c} + {total}"
                yield f"const Real q{a}_{c} = {total};"
        yield "Real fine(1);"
        for j in range(nv):
            diagonal = f"q{ns + j}_{ns + j}"
            squares = [(f"l{j}_{i}", f"l{j}_{i}") for i in range(j)]
            yield f"Real pivot{j} = {_chain('fnma', diagonal, squares)};"
            yield (
                f"const auto fine{j} = ({diagonal} > Real(0)) & (pivot{j} > Real(definite_pivot) * {diagonal}) & "
                f"(pivot{j} < Real(1e300));"
            )
            yield f"fine = select(fine{j}, fine, Real(0));"
            yield f"pivot{j} = select(fine{j}, pivot{j}, Real(1));"
            yield f"const Real l{j}_{j} = Real(1) / sqrt(pivot{j});"
            for i in range(j + 1, nv):
                below = _chain("fnma", f"q{ns + i}_{ns + j}", [(f"l{i}_{k}", f"l{j}_{k}") for k in range(j)])
                yield f"const Real l{i}_{j} = {below} * l{j}_{j};"
        for j in range(nv):
            for a in range(ns):
                above = _chain("fma", f"q{ns + j}_{a}", [(f"-l{j}_{k}", f"x{k}_{a}") for k in range(j)])
                yield f"const Real x{j}_{a} = {above} * l{j}_{j};"
        for j in reversed(range(nv)):
            for a in range(ns):
                below = _chain("fma", f"x{j}_{a}", [(f"l{k}_{j}", f"k{k}_{a}") for k in range(j + 1, nv)])
                yield f"const Real k{j}_{a} = -({below} * l{j}_{j});"
                yield f"gain[{j * ns + a}] = k{j}_{a};"
        for a in range(ns):
            for b in range(a + 1):
                squares = [(f"-x{j}_{a}", f"x{j}_{b}") for j in range(nv)]
                yield f"const Real p{a}_{b} = {_chain('fma', f'q{a}_{b}', squares)};"
                yield f"value[{a * ns + b}] = p{a}_{b};"
                if a != b:
                    yield f"value[{b * ns + a}] = p{a}_{b};"
        for i in range(nv):
            yield from (f"factor[{i * (i + 1) // 2 + j}] = l{i}_{j};" for j in range(i + 1))
        yield "good[0] = fine;"

    def pull(self) -> Iterator[str]:
        """q_k = Q_s + K' Q_v, kappa_k = -(L L')^{-1} Q_v, (Q_s, Q_v) = g + J' (P d + q)_{k+1}; E s_N so far."""
        ns, ends, nv = self.shape.ns, self.shape.ends, self.nv
        for a in range(ns):
            products = [(f"defect[{j}]", f"next_value[{j * ns + a}]") for j in range(ns)]
            yield f"const Real r{a} = {_chain('fma', f'next_slope[{a}]', products)};"
        for c, total in enumerate(self._pulled([f"r{a}" for a in range(ns)])):
            yield f"const Real q{c} = " + (f"gradient[{c}];" if total is None else f"({total}) + gradient[{c}];")
        for a in range(ns):
            products = [(f"q{ns + j}", f"gain[{j * ns + a}]") for j in range(nv)]
            yield f"const Real s{a} = {_chain('fma', f'q{a}', products)};"
        for i in range(ends):
            products = [(f"next_columns[{a * ends + i}]", f"defect[{a}]") for a in range(ns)]
            products += [(f"feed[{j * ends + i}]", f"q{ns + j}") for j in range(nv)]
            yield f"const Real e{i} = {_chain('fma', f'rest[{i}]', products)};"
        for j in range(nv):
            above = [(f"factor[{j * (j + 1) // 2 + k}]", f"w{k}") for k in range(j)]
            yield f"const Real w{j} = {_chain('fnma', f'q{ns + j}', above)} * factor[{j * (j + 1) // 2 + j}];"
        for j in reversed(range(nv)):
            below = [(f"factor[{k * (k + 1) // 2 + j}]", f"v{k}") for k in range(j + 1, nv)]
            yield f"const Real v{j} = {_chain('fnma', f'w{j}', below)} * factor[{j * (j + 1) // 2 + j}];"
        yield from (f"slope[{a}] = s{a};" for a in range(ns))
        yield from (f"kappa[{j}] = -v{j};" for j in range(nv))
        yield from (f"left[{i}] = e{i};" for i in range(ends))

    def move(self) -> Iterator[str]:
        """p_k = P s + q + Y nu, v = K s + kappa + G nu, s_{k+1} = J (s, v) + d."""
        n, ns, moved, ends, nv = self.shape.n, self.shape.ns, self.shape.moved, self.shape.ends, self.nv
        for a in range(ns):
            products = [(f"columns[{a * ends + i}]", f"nu[{i}]") for i in range(ends)]
            products += [(f"state[{j}]", f"value[{j * ns + a}]") for j in range(ns)]
            yield f"const Real p{a} = {_chain('fma', f'slope[{a}]', products)};"
        for j in range(nv):
            products = [(f"feed[{j * ends + i}]", f"nu[{i}]") for i in range(ends)]
            products += [(f"gain[{j * ns + a}]", f"state[{a}]") for a in range(ns)]
            yield f"const Real v{j} = {_chain('fma', f'kappa[{j}]', products)};"
        z = [*(f"state[{a}]" for a in range(ns)), *(f"v{j}" for j in range(nv))]
        for a in range(ns):
            terms: list[tuple[str, str | float]] = [(z[c], self._entry(a, c)) for c in range(len(z))] if a < n else []
            if a >= n:
                terms = [(f"v{a - n}" if a < n + moved else z[a], 1.0)]
            yield f"const Real s{a} = {_sum(f'defect[{a}]', terms)};"
        for a in range(ns):
            yield f"costate[{a}] = p{a};"
            yield f"step[{a}] = state[{a}];"
        yield from (f"next_state[{a}] = s{a};" for a in range(ns))
        yield from (f"control[{j}] = v{j};" for j in range(nv))

    def left(self) -> Iterator[str]:
        """(H + delta D) z + g + J' p_{k+1} - p_k."""
        ns, nz = self.shape.ns, self.shape.nz
        z = [f"state[{a}]" if a < ns else f"control[{a - ns}]" for a in range(nz)]
        column = [f"next_costate[{a}]" for a in range(ns)]
        for a, total in enumerate(self._pulled(column)):
            first = f"gradient[{a}]" if total is None else f"({total}) + gradient[{a}]"
            yield f"Real o{a} = fma(regular[0] * proximal[{a}], {z[a]}, {first});"
        for a in range(nz):
            for b in range(a):
                entry = f"hessian[{a * (a + 1) // 2 + b}]"
                yield f"o{a} = fma({entry}, {z[b]}, o{a}), o{b} = fma({entry}, {z[a]}, o{b});"
            yield f"o{a} = fma(hessian[{a * (a + 1) // 2 + a}], {z[a]}, o{a});"
        yield from (f"left[{a}] = o{a}{f' - costate[{a}]' if a < ns else ''};" for a in range(nz))

    def _pulled(self, column: Sequence[str]) -> list[str | None]:
        """J' y by components; None is zero."""
        n, ns, nz, moved = self.shape.n, self.shape.ns, self.shape.nz, self.shape.moved
        found = []
        for c in range(nz):
            terms: list[tuple[str, str | float]] = [(column[j], self._entry(j, c)) for j in range(n)]
            if c >= ns and c - ns < moved:
                terms.append((column[n + c - ns], 1.0))
            elif n + moved <= c < ns:
                terms.append((column[c], 1.0))
            found.append(_sum(None, terms))
        return found

    def end(self) -> Iterator[str]:
        """Y_k = (A + B K)' Y_{k+1}, G_k = -(L L')^{-1} B' Y_{k+1}, and L^{-1} B' Y squared, added to the sum."""
        ns, ends, nv = self.shape.ns, self.shape.ends, self.nv
        for i in range(ends):
            for c, total in enumerate(self._pulled([f"next_columns[{a * ends + i}]" for a in range(ns)])):
                yield f"const Real y{i}_{c} = {total or 'Real(0)'};"
            for a in range(ns):
                fed = [(f"y{i}_{ns + j}", f"gain[{j * ns + a}]") for j in range(nv)]
                yield f"columns[{a * ends + i}] = {_chain('fma', f'y{i}_{a}', fed)};"
            for j in range(nv):
                above = [(f"factor[{j * (j + 1) // 2 + k}]", f"g{i}_{k}") for k in range(j)]
                diagonal = f"factor[{j * (j + 1) // 2 + j}]"
                yield f"const Real g{i}_{j} = {_chain('fnma', f'y{i}_{ns + j}', above)} * {diagonal};"
        for i in range(ends):
            for k in range(i + 1):
                place = i * ends + k
                squares = [(f"g{i}_{j}", f"g{k}_{j}") for j in range(nv)]
                yield f"added[{place}] = {_chain('fma', f'sum[{place}]', squares)};"
        for i in range(ends):
            for j in reversed(range(nv)):
                below = [(f"factor[{k * (k + 1) // 2 + j}]", f"f{i}_{k}") for k in range(j + 1, nv)]
                diagonal = f"factor[{j * (j + 1) // 2 + j}]"
                yield f"const Real f{i}_{j} = -({_chain('fma', f'g{i}_{j}', below)} * {diagonal});"
                yield f"feed[{j * ends + i}] = f{i}_{j};"

    def _entry(self, row: int, column: int) -> str | float:
        known = self.shape.jacobian[row][column]
        return f"jacobian[{row * self.shape.nz + column}]" if known is None else known


def _sum(first: str | None, terms: Iterable[tuple[str, str | float]]) -> str | None:
    """first + sum of products, in order; None is zero."""
    total = first
    for a, b in terms:
        if b == 0.0:
            continue
        if b == 1.0:
            total = a if total is None else f"{a} + ({total})"
        else:
            total = f"{a} * {b}" if total is None else f"fma({a}, {b}, {total})"
    return total


def _chain(name: str, first: str, products: Iterable[tuple[str, str]]) -> str:
    total = first
    for a, b in products:
        total = f"{name}({a}, {b}, {total})"
    return total
