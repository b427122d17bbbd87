"""Batched first-order methods for optimal control: projected gradient and projected L-BFGS, augmented Lagrangian.

    minimise J(u, t1)   over u(t) in U, t1 in [low, high], subject to the terminal constraints psi = 0, gamma <= 0

They see sweeps, a control set and the mass of the control's basis functions; never a model or a device.

    solve_first_order(backend, control_set, grid_mass, start, *, t0, final_time_bounds=None, equality_count=0,
                      method="lbfgs", settings=None, callback=None) -> MethodResult

    backend            SweepBackend: evaluate(Arguments, outputs) is all that is called
    control_set        ControlSet (low, high) of m components, infinite where there is no bound
    grid_mass          (K,) TimeGrid.basis_mass(kind): integral of each control basis function over scaled time 0..1
    start              Arguments: control (B, K, m), or (K, m) for one control shared by the batch (then the sum of the
                       objectives is minimised, with one step length and one status); initial_state, parameters, data;
                       final_time (B,) the guess, or the value where it is fixed; multipliers and penalties (B, r) are a
                       warm start, None means a fresh one; both cotangents must be None
    t0                 float, start of the horizon
    final_time_bounds  None where final_time is fixed, else (low, high); a low not after t0 becomes t0 plus a
                       thousandth of the shortest guess, so that t1 > t0 always holds
    equality_count     the first so many terminal constraints are equalities, the rest inequalities <= 0
    method             a name in METHODS: "gradient" or "lbfgs"
    settings           MethodSettings(tolerance=1e-8, max_iterations=None, step_rule="barzilai_borwein", ...)
    callback           called with an IterationInfo after each iteration; True stops with Status.INTERRUPTED

A start with values outside the bounds is projected first. Ctrl-C hands back the best point so far with
Status.INTERRUPTED. ProblemError for an unknown method or shapes that do not fit; never an exception for numbers.
"""

from pontryagin.optim.first_order import METHODS, solve_first_order
from pontryagin.optim.result import Callback, IterationInfo, MethodResult
from pontryagin.optim.settings import STEP_RULES, MethodSettings

__all__ = [
    "METHODS",
    "STEP_RULES",
    "Callback",
    "IterationInfo",
    "MethodResult",
    "MethodSettings",
    "solve_first_order",
]
