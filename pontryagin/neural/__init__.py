"""ODE-Nets: networks as vector fields, their weights in time as the control."""

from pontryagin.neural.costs import running_costs
from pontryagin.neural.odenet import ODENet
from pontryagin.neural.path_cost import PathCost
from pontryagin.neural.recognise import Sine
from pontryagin.neural.trajectory import Trajectory
from pontryagin.neural.weight_spline import WeightSpline

__all__ = ["ODENet", "PathCost", "Sine", "Trajectory", "WeightSpline", "running_costs"]
