"""The gallery: every problem is complete, builds, and is read only when it is asked for."""

import pickle
import subprocess
import sys
import types

import pytest
import torch

from pontryagin import problems
from pontryagin.errors import ProblemError
from pontryagin.problems import Reference, get, names
from pontryagin.problems._registry import entry_of

EXPECTED = {
    "scalar_lqr", "double_integrator_lqr", "double_integrator_min_energy", "bryson_max_range", "van_der_pol_bocop",
    "van_der_pol_bounded", "van_der_pol_unbounded", "rayleigh_2_5", "cstr_kirk", "hypersensitive", "batch_reactor",
    "orbit_raising", "pendulum_swing_up_T3", "quadrotor_tracking", "fuller", "linear_tangent_steering",
    "brachistochrone_dymos", "brachistochrone_unit", "catalyst_mixing", "lotka_volterra_fishing", "luus_singular_4",
    "double_integrator_min_time", "scalar_turnpike", "moon_lander", "cartpole_kelly", "double_integrator_min_fuel",
    "rayleigh_mixed", "bryson_denham_1_9", "singular_5_yeo", "state_constraint_stc1", "beam", "dubins_turn_around",
    "reeds_shepp_turn_around", "container_crane", "two_link_arm", "robot_arm_cops", "hang_glider_cops",
    "space_shuttle_reentry", "goddard_cops",
}  # fmt: skip


def test_classic_problems_are_there():
    assert set(names()) >= EXPECTED


def test_names_are_sorted_and_always_the_same():
    assert names() == sorted(names()) == names()


def test_the_list_reads_no_problem():
    script = (
        "import sys, pontryagin.problems as gallery; gallery.names(); "
        "loaded = [name for name in gallery.names() if f'pontryagin.problems.{name}' in sys.modules]; "
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_are_listed():
    assert set(problems.__all__) == {"Entry", "Reference", "get", "names"}


@pytest.mark.parametrize("name", names())
def test_problem_is_complete(name):
    entry = get(name)
    problem = entry.problem()
    assert entry.name == problem.name == name
    assert entry.title
    assert entry.title[-1] != "."
    assert ("maximise" in entry.statement) == problem.maximize
    assert ("minimise" in entry.statement) != problem.maximize
    assert ("free time" in entry.tags) == (problem.free_final_time is not None)
    assert ("control bounds" in entry.tags) == problem.control_set.is_bounded
    assert ("terminal constraint" in entry.tags) == bool(problem.equality_count)
    assert ("path constraint" in entry.tags) == bool(problem.path_count)
    assert ("state bounds" in entry.tags) == (problem.state_bounds is not None)
    assert ("unconstrained" in entry.tags) == (len(entry.tags) == 1 and entry.tags[0] == "unconstrained")


@pytest.mark.parametrize("name", names())
def test_reference_fits_the_problem(name):
    entry = get(name)
    problem, reference = entry.problem(), entry.reference
    if reference.initial_costate is not None:
        assert len(reference.initial_costate) == problem.state_dim
    assert (reference.final_time is not None) == (problem.free_final_time is not None)
    end = reference.final_time or problem.t1_guess
    switches = reference.switching_times or ()
    assert list(switches) == sorted(switches)
    assert all(problem.t0 < time < end for time in switches)


@pytest.mark.parametrize("name", [name for name in names() if get(name).guess is not None])
def test_guess_is_an_admissible_control(name):
    entry = get(name)
    problem = entry.problem()
    rows = torch.tensor(entry.guess(problem), dtype=torch.float64)
    assert rows.dim() in (1, 2)
    assert rows.shape[-1] == problem.control_dim
    assert torch.equal(problem.control_set.project(rows), rows)


@pytest.mark.parametrize("name", names())
def test_problem_can_be_pickled(name):
    problem = get(name).problem()
    assert repr(pickle.loads(pickle.dumps(problem))) == repr(problem)


@pytest.mark.parametrize("name", names())
def test_functions_give_the_same_in_a_batch(name):
    problem = get(name).problem()
    functions, generator = problem.functions, torch.Generator().manual_seed(5)

    def random(size):
        return 0.1 + torch.rand(3, size, dtype=torch.float64, generator=generator)

    t, nothing = random(1)[:, 0], torch.zeros(3, 0, dtype=torch.float64)
    x, u = random(problem.state_dim), problem.control_set.project(random(problem.control_dim))
    along = (functions.dynamics, (t, x, u, nothing, nothing)), (functions.running_cost, (t, x, u, nothing, nothing))
    ends = (functions.terminal_cost, (t, x, nothing)), (functions.terminal_equality, (t, x, nothing))
    for function, arguments in (*along, *ends):
        batched = torch.func.vmap(function)(*arguments)
        single = torch.stack([function(*[argument[i] for argument in arguments]) for i in range(3)])
        # the mathematical functions of a vector may round differently from those of a scalar
        assert torch.allclose(batched, single, rtol=1e-13, atol=1e-14)


def test_constraints_along_the_path_wait_for_second_order_methods():
    constrained = {"path constraint", "state bounds"}
    for name in names():
        entry = get(name)
        assert bool(entry.problem().beyond_first_order) == bool(constrained & set(entry.tags))


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ProblemError, match="problem 'fullers' is not known; did you mean fuller"):
        get("fullers")


def module(**contents):
    made = types.ModuleType("somewhere.invented", "A problem.")
    complete = {
        "reference": Reference(1.0, 3, "closed form"),
        "tags": ("singular",),
        "tolerance": "smooth",
        "problem": lambda: None,
    }
    made.__dict__.update({**complete, **contents})
    return made


def test_a_complete_module_is_an_entry():
    assert entry_of(module()).name == "invented"


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        ({"reference": None}, "problem 'invented' has no reference value"),
        ({"__doc__": None}, "problem 'invented' has no statement"),
        ({"tags": ("singlar",)}, "tag of problem 'invented', 'singlar' is not known; did you mean singular"),
        ({"tolerance": "loose"}, "tolerance of problem 'invented', 'loose' is not known"),
    ],
    ids=["reference", "statement", "tag", "tolerance"],
)
def test_an_incomplete_problem_is_refused(contents, sentence):
    with pytest.raises(ProblemError, match=sentence):
        entry_of(module(**contents))


@pytest.mark.parametrize(
    "arguments",
    [(float("nan"), 3, "closed form"), (1.0, 0, "closed form"), (1.0, 3, "")],
    ids=["nan", "digits", "source"],
)
def test_a_reference_without_proof_is_refused(arguments):
    with pytest.raises(ProblemError, match="proves nothing"):
        Reference(*arguments)
