"""How a solve ended, one status for each problem of a batch."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """How a solve ended; the value is a sentence with a remedy."""

    CONVERGED = "The optimality conditions hold to the tolerance."
    INACCURATE = (
        "The optimality conditions hold on the finest grid that is tried, whose steps are too long for the accuracy: "
        "start from a guess whose control turns less, loosen accuracy, or name more steps."
    )
    NOT_MINIMAL = (
        "The control is stationary, but other controls make the Hamiltonian smaller: start from another guess or from "
        "several (starts=32); an optimum that would have to switch ever faster lies on no grid."
    )
    MAX_ITERATIONS = (
        "The limit of iterations was reached first: raise max_iterations, start from a better guess or use another "
        "method."
    )
    STALLED = (
        "No further descent is visible above rounding before the tolerance holds: accept the answer if its residual is "
        "small, loosen tolerance, or scale states and controls to the size of one."
    )
    NOT_FINITE = (
        "The state or the cost is NaN or infinite: start from a milder guess, take more steps or bound the control."
    )
    INFEASIBLE = (
        "The terminal constraints could not be met: check that the end can be reached within the horizon and the "
        "control bounds, or start from another guess."
    )
    UNBOUNDED = (
        "The objective falls without end: bound the controls or the final time, and check the signs of the costs."
    )
    INTERRUPTED = "The solve was interrupted: the answer is the best one found until then."

    @property
    def success(self) -> bool:
        return self is Status.CONVERGED

    def __str__(self) -> str:
        return f"{self.name.lower().replace('_', ' ')}: {self.value}"
