"""acados: sequential quadratic programming with exact second derivatives, HPIPM and generated C, one solve.

It needs `acados_template`, the environment variable ACADOS_SOURCE_DIR that it asks for, and a C compiler. The C is
generated and compiled in build/acados. From the line between the ends its first quadratic problem cannot be solved, so
it begins at zero.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import casadi
import numpy as np
from acados_template import AcadosModel, AcadosOcp, AcadosOcpSolver

from benchmarks.build import BUILD
from benchmarks.newton_peers.solver import Refused, Solved, Solver
from benchmarks.newton_peers.statement import STEPS, Statement
from benchmarks.peers.casadi import CASADI

MOST = 1000  # iterations


def sqp(statement: Statement) -> Solver:
    if "ACADOS_SOURCE_DIR" not in os.environ:
        raise Refused("acados: ACADOS_SOURCE_DIR is not set")
    solver = _solver(statement)

    def solve() -> Solved:
        for k in range(STEPS + 1):
            solver.set(k, "x", np.zeros(statement.n))
        for k in range(STEPS):
            solver.set(k, "u", np.zeros(statement.m))
            solver.set(k, "pi", np.zeros(statement.n))
        status = solver.solve()
        assert status == 0, f"acados ends with status {status}"
        return Solved(np.stack([solver.get(k, "u") for k in range(STEPS)])[None], int(solver.get_stats("sqp_iter")[0]))

    return Solver("acados, SQP from zero, constant control", "its own default, 1e-6", solve)


def _solver(statement: Statement) -> AcadosOcpSolver:
    n, target = statement.n, statement.target
    assert target is not None
    state, control = casadi.SX.sym("x", n), casadi.SX.sym("u", statement.m)
    x, u = casadi.vertsplit(state), casadi.vertsplit(control)
    rates = casadi.vertcat(*statement.dynamics(CASADI, x, u))
    slope = casadi.SX.sym("slope", n)

    model = AcadosModel()
    model.name, model.x, model.u, model.xdot = statement.name, state, control, slope
    model.f_expl_expr, model.f_impl_expr = rates, slope - rates
    model.cost_expr_ext_cost = statement.running_cost(x, u)

    ocp = AcadosOcp()
    ocp.model, ocp.dims.N, ocp.cost.cost_type = model, STEPS, "EXTERNAL"
    bounds = ocp.constraints
    bounds.x0 = statement.initial_state
    bounds.idxbu, (bounds.lbu, bounds.ubu) = np.arange(statement.m), statement.control_bounds
    held = np.flatnonzero(np.isfinite(statement.state_bounds[0]))
    bounds.idxbx, bounds.lbx, bounds.ubx = held, statement.state_bounds[0][held], statement.state_bounds[1][held]
    bounds.idxbx_e, bounds.lbx_e, bounds.ubx_e = np.arange(n), target, target

    options = ocp.solver_options
    options.tf = STEPS * statement.step_length
    options.integrator_type, options.sim_method_num_stages = "ERK", 4
    options.nlp_solver_type, options.nlp_solver_max_iter = "SQP", MOST
    options.hessian_approx, options.regularize_method = "EXACT", "PROJECT"
    options.globalization = "MERIT_BACKTRACKING"
    options.qp_solver, options.qp_solver_cond_N = "PARTIAL_CONDENSING_HPIPM", STEPS // 10
    folder = BUILD / "acados"
    folder.mkdir(parents=True, exist_ok=True)
    ocp.code_export_directory = str(folder / "code")
    here = Path.cwd()
    os.chdir(folder)  # it writes into the working directory too
    try:
        with contextlib.redirect_stdout(None):
            return AcadosOcpSolver(ocp, json_file=str(folder / "solver.json"), verbose=False)
    finally:
        os.chdir(here)
