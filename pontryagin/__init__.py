"""Optimal control by Pontryagin's principle: PyTorch functions in, compiled sweeps, solutions with costates out.

minimise J = phi(t1, x(t1)) + int L(t, x, u) dt   subject to   x' = f(t, x, u),  u in U,  psi(t1, x(t1)) = 0
"""

from pontryagin import problems
from pontryagin.control import Control
from pontryagin.control_set import ControlSet
from pontryagin.data import Data
from pontryagin.errors import (
    BackendError,
    CaptureError,
    NonFiniteError,
    NotYetSupported,
    PontryaginError,
    ProblemError,
)
from pontryagin.evaluate import Sweep, sweep
from pontryagin.neural import (
    EMSA,
    GradientUpdate,
    History,
    ODENet,
    PathCost,
    Sine,
    Trajectory,
    WeightSpline,
    fit,
    load_weights,
    plot_costates,
    plot_plane,
    running_costs,
)
from pontryagin.parameters import Parameter
from pontryagin.problem import Problem
from pontryagin.records import Report
from pontryagin.solution import Solution
from pontryagin.solve import solve
from pontryagin.status import Status
from pontryagin.time_grid import TimeGrid

__version__ = "0.1.0"

__all__ = [
    "EMSA",
    "BackendError",
    "CaptureError",
    "Control",
    "ControlSet",
    "Data",
    "GradientUpdate",
    "History",
    "NonFiniteError",
    "NotYetSupported",
    "ODENet",
    "Parameter",
    "PathCost",
    "PontryaginError",
    "Problem",
    "ProblemError",
    "Report",
    "Sine",
    "Solution",
    "Status",
    "Sweep",
    "TimeGrid",
    "Trajectory",
    "WeightSpline",
    "__version__",
    "fit",
    "load_weights",
    "plot_costates",
    "plot_plane",
    "problems",
    "running_costs",
    "solve",
    "sweep",
]
