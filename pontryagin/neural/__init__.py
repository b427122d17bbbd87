"""ODE-Nets: networks as vector fields, their weights in time as the control."""

from pontryagin.neural.costs import running_costs
from pontryagin.neural.emsa import EMSA
from pontryagin.neural.fit import fit
from pontryagin.neural.gradient_update import GradientUpdate
from pontryagin.neural.history import Ending, Epoch, History
from pontryagin.neural.odenet import ODENet
from pontryagin.neural.path_cost import PathCost
from pontryagin.neural.pictures import plot_costates, plot_plane
from pontryagin.neural.recognise import Sine
from pontryagin.neural.trajectory import Trajectory
from pontryagin.neural.weight_file import load_weights
from pontryagin.neural.weight_spline import WeightSpline

__all__ = [
    "EMSA",
    "Ending",
    "Epoch",
    "GradientUpdate",
    "History",
    "ODENet",
    "PathCost",
    "Sine",
    "Trajectory",
    "WeightSpline",
    "fit",
    "load_weights",
    "plot_costates",
    "plot_plane",
    "running_costs",
]
