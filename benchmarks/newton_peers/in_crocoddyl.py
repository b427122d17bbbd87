"""crocoddyl: feasibility-driven DDP on the cart-pole as a robot of pinocchio, with its fourth-order Runge-Kutta steps.

It knows no hard end: a penalty of 1e7 leaves a few millionths. The robot has two motors, since crocoddyl drives all
joints or a floating base; BoxFDDP bounds that of the pole to zero.
"""

from __future__ import annotations

from typing import Any

import crocoddyl
import numpy as np
import pinocchio

from benchmarks.newton_peers.solver import Solved, Solver
from benchmarks.newton_peers.statement import STEPS, Statement
from benchmarks.workloads.cartpole import CART, LENGTH, POLE

PENALTY = 1e7
MOST = 1000  # iterations


def box_fddp(statement: Statement) -> Solver:
    target = statement.target
    assert target is not None
    state = crocoddyl.StateMultibody(_robot())
    running, end = crocoddyl.CostModelSum(state, 2), crocoddyl.CostModelSum(state, 2)
    running.addCost("effort", crocoddyl.CostModelResidual(state, crocoddyl.ResidualModelControl(state, 2)), 2.0)
    end.addCost("end", crocoddyl.CostModelResidual(state, crocoddyl.ResidualModelState(state, target, 2)), PENALTY)
    step, last = _step(state, running, statement.step_length), _step(state, end, 0.0)
    low, high = statement.control_bounds
    step.u_lb, step.u_ub = np.array([low[0], 0.0]), np.array([high[0], 0.0])
    problem = crocoddyl.ShootingProblem(statement.initial_state, [step] * STEPS, last)
    problem.nthreads = 1
    solver = crocoddyl.SolverBoxFDDP(problem)
    shares = np.linspace(0, 1, STEPS + 1)[:, None]
    states = [*((1 - shares) * statement.initial_state + shares * target)]
    controls = [np.zeros(2)] * STEPS

    def solve() -> Solved:
        assert solver.solve(states, controls, MOST, False, 1e-9), "BoxFDDP does not converge"
        return Solved(np.array([*solver.us])[None, :, :1], solver.iter)

    name = "crocoddyl, BoxFDDP from a line, constant control"
    return Solver(name, f"its own default, end by penalty {PENALTY:.0e}", solve, end=1e-5)


def _step(state: Any, cost: Any, length: float) -> Any:
    motors = crocoddyl.ActuationModelFull(state)
    model = crocoddyl.DifferentialActionModelFreeFwdDynamics(state, motors, cost)
    model.armature = np.zeros(2)  # a new model is wrong until somebody says so
    return crocoddyl.IntegratedActionModelRK(model, crocoddyl.RKType.four, length)


def _robot() -> Any:
    """A cart on a rail with a point mass on a rod, hanging down at angle zero."""
    model, here, none = pinocchio.Model(), pinocchio.SE3.Identity(), np.zeros((3, 3))
    cart = model.addJoint(0, pinocchio.JointModelPX(), here, "cart")
    model.appendBodyToJoint(cart, pinocchio.Inertia(CART, np.zeros(3), none), here)
    pole = model.addJoint(cart, pinocchio.JointModelRevoluteUnaligned(np.array([0.0, -1.0, 0.0])), here, "pole")
    model.appendBodyToJoint(pole, pinocchio.Inertia(POLE, np.array([0.0, 0.0, -LENGTH]), none), here)
    return model
