"""What a solution can do: functions of time, one page of text, files, pictures."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from statements import regulator, slide, transfer

from pontryagin.answer import LATER, TENSORS
from pontryagin.errors import BackendError, ProblemError
from pontryagin.solution import Solution
from pontryagin.solve import solve
from pontryagin.status import Status

# -- functions of time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_functions_of_time_pass_through_the_nodes(kind):
    solution = solve(transfer(), steps=6, control=kind)
    nodes = solution.time
    torch.testing.assert_close(solution.state_at(nodes), solution.state, rtol=0, atol=1e-14)
    torch.testing.assert_close(solution.costate_at(nodes), solution.costate, rtol=0, atol=1e-12)
    last = None if kind == "linear" else -1
    assert torch.equal(solution.control_at(nodes)[:last], solution.control.values)


def test_between_nodes_the_error_falls_with_the_fourth_power_of_the_step():
    # x' = -x, whatever the control, which is 0: x = e^-t, p = (e^-t - e^(t-2)) / 2 from p' = p - x, p(1) = 0
    problem = regulator(dynamics=lambda t, x, u: -x + 0 * u)

    def errors(steps: int) -> torch.Tensor:
        solution = solve(problem, steps=steps)
        t = torch.linspace(0, 1, 57, dtype=torch.float64)
        x, p = torch.exp(-t), (torch.exp(-t) - torch.exp(t - 2)) / 2
        return torch.stack(
            [(solution.state_at(t)[:, 0] - x).abs().max(), (solution.costate_at(t)[:, 0] - p).abs().max()]
        )

    assert bool((errors(8) < errors(4) / 12).all())  # 16 in the limit


def test_times_have_the_shape_that_the_caller_gives(regulated, batch_of_regulated):
    assert regulated.state_at(0.3).shape == (1,)
    assert regulated.costate_at([0.1, 0.2]).shape == (2, 1)
    assert batch_of_regulated.control_at(0.3).shape == (3, 1)
    assert batch_of_regulated.state_at(np.linspace(0, 1, 5)).shape == (3, 5, 1)
    own = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    expected = torch.stack([batch_of_regulated[b].state_at(own[b]) for b in range(3)])
    assert torch.equal(batch_of_regulated.state_at(own), expected)


def test_extrapolation_is_refused(regulated):
    with pytest.raises(ProblemError, match=r"t = 1\.1 lies outside of the horizon, 0 to 1"):
        regulated.state_at([0.5, 1.1])
    with pytest.raises(ProblemError, match=r"t = -0\.1"):
        regulated.control_at(-0.1)
    with pytest.raises(ProblemError, match="t has shape"):
        regulated.costate_at(torch.zeros(2, 3))


# -- text --------------------------------------------------------------------------------------------------------------


def test_a_page_of_text_says_how_it_ended_and_what_the_signs_are(transferred):
    text = str(transferred)
    for part in ("transfer: converged", "nu          -12", "newton", "8 steps, linear control, rk4", "p' = -H_x"):
        assert part in text
    assert "optimality report" not in text


def test_the_page_of_a_batch_counts_how_they_ended(batch_of_regulated):
    assert "3 converged, of 3 problems" in str(batch_of_regulated)
    assert repr(batch_of_regulated).startswith("<Solution regulator: 3 converged, mean objective 0.76")


def test_a_free_final_time_and_the_grids_are_shown():
    text = str(solve(slide(), accuracy=1e-3))
    assert "final time  0.7071" in text and "50, 100 steps" in text


def test_the_reference_stands_beside_the_objective(regulated):
    text = str(replace(regulated, reference=math.tanh(1) / 2))
    assert "reference 0.380797077978, relative error" in text


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
def test_a_file_keeps_everything_but_the_functions(tmp_path, batch, transferred):
    solution = solve(transfer(), steps=4, initial_state=[[0.0, 0.0], [0.1, 0.0]]) if batch else transferred
    path = tmp_path / "solution.npz"
    solution.save(path)
    again = Solution.load(path)
    t = torch.linspace(0, 1, 11)
    for one, other in (
        (solution.state_at(t), again.state_at(t)),
        (solution.costate_at(t), again.costate_at(t)),
        (solution.control_at(t), again.control_at(t)),
        (solution.multipliers, again.multipliers),
        (solution.objective, again.objective),
    ):
        assert torch.equal(one, other)
    assert again.status == solution.status and again.history == solution.history and again.timings == solution.timings
    assert str(again) == str(solution)
    warm = solve(transfer(), steps=4 if batch else 8, guess=again, initial_state=solution.state[..., 0, :])
    assert torch.allclose(warm.objective, solution.objective)


def test_files_hold_no_pickle(tmp_path, regulated):
    regulated.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_what_needs_functions_says_so_after_loading(tmp_path, regulated):
    regulated.save(tmp_path / "a.npz")
    with pytest.raises(ProblemError, match=r"need the functions.*Solution\.load\(path, problem\)"):
        Solution.load(tmp_path / "a.npz").verify()
    assert Solution.load(tmp_path / "a.npz", regulator()).verify().checks


def test_files_of_other_problems_and_other_files_are_refused(tmp_path, regulated):
    regulated.save(tmp_path / "a.npz")
    with pytest.raises(ProblemError, match="1 states, 1 controls and 0 parameters; transfer has 2, 1 and 0"):
        Solution.load(tmp_path / "a.npz", transfer())
    with pytest.raises(ProblemError, match="there is no file"):
        Solution.load(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_text("words")
    with pytest.raises(ProblemError, match="is no solution"):
        Solution.load(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", x=np.zeros(3))
    with pytest.raises(ProblemError, match="is no solution"):
        Solution.load(tmp_path / "d.npz")


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_a_picture_is_written(tmp_path, transferred, batch_of_regulated):
    for solution, name in ((transferred, "one.png"), (batch_of_regulated, "several.svg")):
        solution.plot(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000


def test_a_picture_needs_no_functions(tmp_path, regulated):
    regulated.save(tmp_path / "a.npz")
    assert len(Solution.load(tmp_path / "a.npz").plot(tmp_path / "a.png").axes) == 4


def test_a_picture_of_an_unknown_format_is_refused(tmp_path, regulated):
    with pytest.raises(ProblemError, match="cannot be written"):
        regulated.plot(tmp_path / "a.words")


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch, regulated):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(BackendError, match=r"pip install 'pontryagin\[plot\]'"):
        regulated.plot()


def test_status_of_a_single_problem_is_one_status(regulated):
    assert isinstance(regulated.status, Status)


# -- fields that are made later ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_fields_made_when_asked_for_are_those_of_a_batch_of_one(kind):
    problem = transfer(control_bounds=(-5, 5))
    later = solve(problem, method="newton", steps=6, control=kind)
    at_once = solve(problem, method="newton", steps=6, control=kind, initial_state=[[0.0, 0.0]])
    at_once.complete()
    assert not set(LATER) & set(vars(later)) and set(LATER) <= set(vars(at_once))
    for name in (*TENSORS, "control"):
        one, other = (torch.as_tensor(getattr(solution, name)) for solution in (later, at_once))
        assert torch.equal(one, other[0])
    assert [row.objective for row in later.history] == [row.objective for row in at_once.history]


def test_a_batch_keeps_nothing_of_the_method():
    batch = solve(transfer(), method="newton", steps=6, initial_state=[[0.0, 0.0], [0.1, 0.0]])
    assert set(LATER) <= set(vars(batch)) and "_source" not in vars(batch)


def test_a_copy_has_all_fields_and_keeps_nothing_of_the_method():
    solution = solve(transfer(), method="newton", steps=6)
    again = copy.copy(solution)
    assert set(LATER) <= set(vars(again)) and "_source" not in vars(again)
    assert again.costate is solution.costate
    with pytest.raises(AttributeError, match="'Solution' object has no attribute 'costates'"):
        solution.costates  # noqa: B018
