"""A solution on one page of text."""

from __future__ import annotations

from collections import Counter

from torch import Tensor

from pontryagin.answer import Answer
from pontryagin.status import Status

SIGNS = "H = L + p.f, minimised over u;  x' = H_p,  p' = -H_x,  p(t1) = phi_x + nu e_x"


def headline(answer: Answer) -> str:
    """Name, how it ended and the objective, on one line."""
    objective = "objective" if answer.batch is None else "mean objective"
    return f"{answer.name}: {_short_status(answer)}, {objective} {float(answer.objective.mean()):.10g}"


def describe(answer: Answer) -> str:
    """Everything that `print(solution)` shows."""
    rows = [
        ("status", _status(answer)),
        ("objective", _objective(answer)),
        ("iterations", f"{_spread(answer.iterations, 'd')} of {answer.method}, in {answer.timings['total']:.3g} s"),
        ("residual", f"{_spread(answer.residual)} of optimality, {_spread(answer.violation)} of terminal constraints"),
        ("grid", _grid(answer)),
        ("backend", f"{answer.backend}: {answer.backend_reason}" if answer.backend_reason else answer.backend),
        ("signs", SIGNS + (" of the minimised -J" if answer.maximize else "")),
    ]
    if answer.batch is None and answer.worst:
        rows.insert(1, ("violated", str(answer.worst)))
    if answer.multipliers.shape[-1] and answer.batch is None:
        rows.insert(-3, ("nu", ", ".join(f"{value:.6g}" for value in answer.multipliers.tolist())))
    if float((answer.final_time - answer.final_time.mean()).abs().max()) > 0 or _free(answer):
        rows.insert(2, ("final time", _spread(answer.final_time, ".10g")))
    lines = [headline(answer)] + [f"  {name:<10}  {text}" for name, text in rows]
    if answer.report is not None:
        lines += str(answer.report).split("\n")
    return "\n".join(lines)


def _free(answer: Answer) -> bool:
    return answer.problem is not None and answer.problem.free_final_time is not None


def _short_status(answer: Answer) -> str:
    if isinstance(answer.status, Status):
        return answer.status.name.lower().replace("_", " ")
    counts = Counter(status.name.lower().replace("_", " ") for status in answer.status)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _status(answer: Answer) -> str:
    if isinstance(answer.status, Status):
        return str(answer.status)
    return f"{_short_status(answer)}, of {len(answer.status)} problems"


def _objective(answer: Answer) -> str:
    text = f"{_spread(answer.objective, '.12g')}, {'maximised' if answer.maximize else 'minimised'}"
    if answer.batch is not None or answer.reference is None:
        return text
    error = abs(float(answer.objective) - answer.reference) / (abs(answer.reference) or 1.0)
    return f"{text}; reference {answer.reference:.12g}, relative error {error:.1e}"


def _grid(answer: Answer) -> str:
    kind = f"{answer.control.kind} control, {answer.scheme}"
    last = answer.levels[-1]
    if last.change != last.change:  # NaN: a single grid was asked for
        return f"{answer.steps} steps, {kind}"
    sizes = ", ".join(str(level.steps) for level in answer.levels)
    met = "" if max(last.change, last.defect) < answer.accuracy else f", above the accuracy of {answer.accuracy:.0e}"
    return f"{sizes} steps, {kind}; last change {last.change:.1e}, defect {last.defect:.1e}{met}"


def _spread(values: Tensor, form: str = ".1e") -> str:
    """The one value, or smallest and largest of a batch."""
    low, high = values.min().item(), values.max().item()
    return f"{low:{form}}" if values.dim() == 0 or low == high else f"{low:{form}} to {high:{form}}"
