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
    callback           called with an IterationInfo of each iteration; True stops with Status.INTERRUPTED

A start with values outside the bounds is projected first. Ctrl-C hands back the best point so far with
Status.INTERRUPTED. ProblemError for an unknown method or shapes that do not fit; never an exception for numbers.

How the parts go together, from the inside out:

    variables.py             one scaled vector z for the control values and log t1 - t0; the optimality residual
    lagrangian.py            the augmented Lagrangian J_a(z) and its derivatives: the only caller of sweeps
    gradient.py, lbfgs.py    where to go from a point; quadratic_model.py is the model that L-BFGS minimises
    line_search.py           how far; NaN is never accepted
    augmented_lagrangian.py  multipliers and penalties of the terminal constraints, outside of either method
    groups.py                one iteration of groups that finish at their own pace, and what the host asks of it
    first_order.py           the methods by name, and the loop

A problem is CONVERGED when its residual (Variables.residual) and its violation (Multipliers) are at most `tolerance`,
which is never taken below 128 rounding units of the backend's type. It also counts as converged when the violation is
at most `tolerance`, the residual at most 1e-6 (1e-3 in single precision), and neither a line search along the model's
step nor one along the gradient finds a descent that the rounding of 1 + |J| would show; else that is STALLED. It is
INFEASIBLE when it stalls with a violation above the root of `tolerance`, or no penalty can grow any further.

Per iteration one sweep of each problem, or r + 1 of them in one batch where L-BFGS treats r <= 16 constraints apart.

On a device other than the CPU every number that the host asks for costs a wait, so that it looks at the device after
each fourth iteration only (MethodSettings.interval): to take out problems that are done, to read the history and to
tell the callback. In between it issues work: all groups do all of it, and masks say what counts of it. What the host
would have asked for is done without: a line search makes one trial an iteration, with one sweep, which then counts as
an iteration; new multipliers under which J_a needs a sweep take one; the quasi-Newton model takes a fixed number of
Newton steps. Answers are as good, iterations do not depend on when the host looks, and their number differs little.
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
