"""The GPU benchmark without a GPU: its plan, its budget, its counts, and its sections on the host's kernels."""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from emulator import Emulator
from mlp_on_host import emulate_nets
from newton_on_host import emulate_newton

from benchmarks import gpu
from benchmarks.contender import NotMeasured
from benchmarks.device import ceilings, checks, ensemble, gradients, kernels, measure, nets, newton, timing
from benchmarks.device.attempts import attempt
from benchmarks.device.measure import SECTIONS
from benchmarks.device.operations import Counted, Tally, of_one_step
from benchmarks.device.sections import LEAST, Section, run_all
from benchmarks.report import Check, Report, Row
from benchmarks.workloads import CARTPOLE
from pontryagin.backend import select
from pontryagin.backend.compiled import CompiledSweep
from pontryagin.backend.cuda_mlp import CudaMLP
from pontryagin.backend.nvrtc import REPORT, find_nvrtc
from pontryagin.errors import BackendError

# ---- the plan and its budget ----------------------------------------------------------------------------------------


def test_without_a_gpu_it_is_a_sentence_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "this benchmark measures a GPU and runs nowhere else" in capsys.readouterr().err


def test_correctness_comes_before_times_and_names_are_found_again():
    names = [section.name for section in SECTIONS]
    assert names[:2] == ["ceilings", "tests marked gpu"]
    assert len(set(names)) == len(names)
    assert sum(section.most for section in SECTIONS) < 900
    assert all(measure.command(False)(section)[-1] == section.name for section in SECTIONS)
    assert measure.command(True)(Section("x", 1))[-1] == "quick"


@pytest.mark.parametrize(("device", "name"), [("NVIDIA H200", "gpu-nvidia-h200"), ("../A 100/é", "gpu-a-100")])
def test_name_of_the_results_is_safe(device, name):
    assert gpu.results_name(device, quick=False) == name
    assert gpu.results_name(device, quick=True) == f"{name}-quick"


def says(*messages: dict[str, object], then: str = "") -> list[str]:
    lines = "".join(f"print({json.dumps(message)!r}, flush=True)\n" for message in messages)
    return [sys.executable, "-c", f"import sys, time\nprint('noise')\nprint(7)\n{lines}{then}"]


ROW = {"row": {"what": "a", "value": 2.0, "unit": "ms", "batch": 8}}
CHECK = {"check": {"what": "a", "value": 2.0, "limit": "<= 3"}}


def run(commands: dict[str, list[str]], most: float = 60.0) -> tuple[Report, list[str]]:
    report = Report("gpu-x")
    sections = [Section(name, most) for name in commands]
    return report, run_all(sections, report, 100.0, lambda section: commands[section.name])


def test_rows_checks_and_notes_of_every_section_are_kept():
    report, failed = run({"one": says(ROW, CHECK), "two": says({"note": "x: none"})})
    assert failed == []
    assert report.rows == [Row("a", 2.0, "ms", 8)]
    assert report.checks == [Check("a", 2.0, "<= 3")]
    assert report.notes == ["x: none"]


def test_failure_is_recorded_with_its_text_and_the_rest_goes_on():
    report, failed = run({"one": says(ROW, then="raise ValueError('no such kernel')"), "two": says(ROW)})
    assert failed == ["one"]
    assert len(report.rows) == 2
    (note,) = report.notes
    assert note.startswith("one: failed with exit status 1")
    assert "ValueError: no such kernel" in note


def test_section_that_takes_too_long_is_stopped_and_what_it_had_stands():
    start = time.monotonic()
    report, failed = run({"one": says(ROW, then="time.sleep(60)")}, most=1.0)
    assert time.monotonic() - start < 30
    assert failed == ["one"]
    assert len(report.rows) == 1
    assert report.notes == ["one: stopped after 1 s; what it had measured by then stands"]


def test_sections_for_which_no_time_is_left_are_skipped_with_a_note():
    report, now = Report("gpu-x"), iter([0.0, 10.0, 10.0, 90.0, 100.0 - LEAST / 2, 150.0])
    asked = []

    def command(section: Section) -> list[str]:
        asked.append(section.name)
        return says(ROW)

    sections = [Section(name, 60.0) for name in ("one", "two", "three")]
    assert run_all(sections, report, 100.0, command, lambda: next(now)) == []
    assert asked == ["one"]
    assert report.notes == [
        "two: skipped, 10 s of the 100 s were left",
        "three: skipped, 0 s of the 100 s were left",
    ]


def test_section_tells_what_it_measures_at_once(monkeypatch, capsys):
    monkeypatch.setitem(SECTIONS, Section("fake", 1), lambda report, quick: report.row("a", float(quick), "ms", 8))
    measure.main("fake", "quick")
    (line,) = capsys.readouterr().out.splitlines()
    assert Row(**json.loads(line)["row"]) == Row("a", 1.0, "ms", 8)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("much"), "x: out of device memory"),
        (NotMeasured("not installed"), "x: not installed"),
        (ValueError("wrong\nthere"), "x: ValueError: wrong there"),
    ],
)
def test_contender_that_fails_is_a_note(error, sentence):
    report = Report("gpu-x")
    with attempt(report, "x"):
        raise error
    assert report.notes == [sentence]


def test_wrong_answer_of_ours_is_no_note():
    with pytest.raises(AssertionError), attempt(Report("gpu-x"), "x", torch.OutOfMemoryError):
        raise AssertionError("wrong")


def test_tests_are_counted_by_their_end():
    report = Report("gpu-x")
    junit = """<testsuites><testsuite>
      <testcase classname="a" name="one"/><testcase classname="a" name="two"><skipped/></testcase>
      <testcase classname="a" name="three"><failure message="assert 1 == 2&#10;more">text</failure></testcase>
      <testcase classname="a" name="four"><error message="broken">text</error></testcase></testsuite></testsuites>"""
    assert checks.counted(junit, report) == {"passed": 1, "failed": 2, "skipped": 1}
    assert report.notes == ["a::three: assert 1 == 2 more", "a::four: broken"]


# ---- counts ---------------------------------------------------------------------------------------------------------


def test_operations_of_a_step_are_those_counted_by_hand():
    """y' = y / 2: k1 .. k4 are 4, their arguments 3 * 2, their sum 5, and what it is multiplied by and added to 2."""
    found = of_one_step(lambda y: [0.5 * y[0]], Tally(), 1)
    assert found.forward == 4 + 3 * 2 + 5 + 2
    # Back: a product for each of the 4 + 3 + 2 + 1 with a constant; y is read 5 times, k1 to k3 twice.
    assert found.reverse == 4 + 3 + 2 + 1 + (5 - 1) + 3


def test_functions_cost_more_and_controls_are_differentiated():
    assert gradients.operations(CARTPOLE).forward > 8 * 20  # sine and cosine in four stages
    tally = Tally()
    x = Counted(tally)
    _ = x * x
    assert (tally.forward, tally.reverse) == (1, 3)  # two products, and their sum


def test_work_of_a_gradient_grows_with_states_that_are_kept():
    of = ensemble.work_of
    forward, once = (of(1000, outputs, torch.float32, 1.0) for outputs in ensemble.WAYS.values())
    twice = of(1000, ensemble.GRADIENT, torch.float64, 2.0)
    assert forward.bytes == 1000 * 8 * 4
    assert once.bytes == 1000 * (1000 * 6 + 12) * 4
    assert twice.bytes == 1000 * (1000 * 12 + 12) * 8
    assert once.operations > 2 * forward.operations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernel_of_the_peak_compiles_to_multiply_adds_in_registers(dtype):
    try:
        compiler = find_nvrtc()
    except BackendError as error:
        pytest.skip(f"{error} (the test extra brings it on Linux)")
    log = compiler.compile(ceilings.peak_text(dtype), 80, REPORT).log
    assert "0 bytes stack frame, 0 bytes spill stores" in log


# ---- sections on kernels of the host ---------------------------------------------------------------------------------


class Clock:
    """Stands for KernelClock: kernels take no time."""

    def __init__(self, device: Emulator) -> None:
        self.memory, self.room, self.kernel, self.launch = device.memory, device.room, device.kernel, device.launch

    def median(self, call: object) -> float:
        call()  # type: ignore[operator]
        return 1e-3


@pytest.fixture
def host(monkeypatch):
    """Kernels, tensors and clocks of the host in place of a GPU's; all calls take the same time."""
    cpu = torch.device("cpu")
    for module in (kernels, gradients, ensemble, nets, newton, checks):
        monkeypatch.setattr(module, "DEVICE", cpu)
    for module in (gradients, ensemble, nets):
        monkeypatch.setattr(module, "captured", lambda call, warm=0: (call, call()))
    monkeypatch.setattr(kernels, "CudaDevice", lambda device: Emulator())
    monkeypatch.setattr(kernels, "KernelClock", Clock)
    monkeypatch.setattr(gradients, "TIER", "interpreter")
    event = SimpleNamespace(record=lambda: None, elapsed_time=lambda other: 50.0)
    monkeypatch.setattr(timing, "events", lambda: (event, event))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(ceilings, "copy_bandwidth", lambda: 1e12)
    monkeypatch.setattr(ceilings, "multiply_add_peak", lambda dtype: 1e13)


def test_gradients_are_checked_timed_and_compared(host, monkeypatch):
    monkeypatch.setattr(gradients, "QUICK_SIZES", (70,))
    monkeypatch.setattr(gradients, "FASTER", {70: ">= 100"})
    report = Report("gpu-x")
    gradients.cartpole(report, quick=True)
    assert report.notes == []
    timed = {row.what for row in report.rows if row.error is not None}
    assert timed == {kernels.KERNEL, gradients.BACKEND, gradients.SWEEP, gradients.EAGER, gradients.GRAPH}
    assert all(row.error < 1e-3 for row in report.rows if row.error is not None)
    assert [check.value for check in report.checks] == [1.0, 1.0]  # all take 50 ms here


def test_ensembles_are_checked_and_timed(host, monkeypatch):
    monkeypatch.setattr(ensemble, "QUICK_SIZES", (70,))
    monkeypatch.setattr(ensemble, "MAIN", 70)
    report = Report("gpu-x")
    ensemble.ours(report, quick=True)
    assert report.notes == []
    errors = {row.error for row in report.rows if row.error is not None}
    assert 0.0 < max(errors) < 5e-3
    assert [check.limit for check in report.checks] == [">= 60", ">= 60", "<= 0.5", "<= 6"]


def test_others_run_the_same_ensemble(host, monkeypatch):
    monkeypatch.setattr(ensemble, "QUICK_COMPARED", (5,))
    monkeypatch.setattr(ensemble, "STEPS", 20)
    report = Report("gpu-x")
    ensemble.others(report, quick=True)
    assert report.notes == []
    assert len([row for row in report.rows if row.error is not None]) == 4


def test_nets_are_checked_timed_and_compared(host, monkeypatch):
    made = emulate_nets(monkeypatch)
    monkeypatch.setattr(nets, "SIZES", (40,))
    monkeypatch.setattr(nets, "FASTER", {nets.Shape(2, 8): ">= 10"})
    report = Report("gpu-x")
    nets.odenet(report, quick=True)
    assert report.notes == []
    assert [row.what for row in report.rows][:3] == list(nets.OURS)
    assert len(report.rows) == 6
    assert all(row.error < 1e-5 for row in report.rows)
    (check,) = report.checks
    assert (check.value, check.batch) == (1.0, 40)  # all take 50 ms here
    (kernel,) = made.values()
    assert kernel._on.launches


def test_swing_ups_are_checked_timed_and_their_memory_told(host, monkeypatch):
    emulate_newton(monkeypatch, newton.CARTPOLE.problem)
    monkeypatch.setattr(select, "CudaSweep", lambda *given, device, **named: CompiledSweep(*given, **named))
    monkeypatch.setattr(newton, "QUICK_SIZES", (40,))
    monkeypatch.setattr(newton, "MAIN", 40)
    monkeypatch.setattr(newton, "PLACES", (32, 64))
    report = Report("gpu-x")
    newton.swing_ups(report, quick=True)
    assert report.notes == []
    solve, kernel, fewer, iterations, memory = report.rows
    assert kernel.error == solve.error == fewer.error == 0.0  # here the sine is that of the CPU
    assert "40 problems on their way" in kernel.what
    assert "32 problems on their way" in fewer.what
    launches = int(kernel.what.split()[-2])
    assert kernel.value == pytest.approx(0.05 * (launches + 5))  # 50 ms each here; sizes, starts, derivatives beside
    assert (kernel.unit, solve.unit) == ("s", "s")
    assert 5 < iterations.value < 50
    assert 100 < memory.value < 200  # KiB
    assert [check.limit for check in report.checks] == ["<= 2"]


def test_what_the_sanitizer_sees_of_newton_is_on_few_places(host, monkeypatch):
    device = emulate_newton(monkeypatch, newton.CARTPOLE.problem)
    monkeypatch.setattr(select, "CudaSweep", lambda *given, device, **named: CompiledSweep(*given, **named))
    newton.small()
    assert [one.threads for one in device.noted if one.verb == "choose_start"] == [32, 32, 1]


def test_memory_of_nets_is_poisoned_and_given_back(host, monkeypatch):
    empty = CudaMLP._empty
    sweeps = SimpleNamespace(dtype=torch.float32, _on=SimpleNamespace(memory=torch.device("cpu")))
    with kernels.poisoned_nets():
        assert CudaMLP._empty(sweeps, 3).isnan().all()
    assert CudaMLP._empty is empty


def test_answer_that_was_not_written_does_not_pass(host):
    batch = gradients.drawn(CARTPOLE, 3, torch.float64)
    answer = gradients.autograd(batch)
    assert gradients.asserted("autograd", answer, batch) == 0.0
    answer.gradient[-1, -1] = torch.nan
    with pytest.raises(AssertionError, match="autograd answers NaN"):
        gradients.asserted("autograd", answer, batch)


def test_what_the_sanitizer_sees_has_states_in_segments_too(host, monkeypatch):
    segments = []
    launch = Emulator.launch

    def noted(self, kernel, threads, job):
        segments.append(bool(job.starts))
        launch(self, kernel, threads, job)

    monkeypatch.setattr(Emulator, "launch", noted)
    monkeypatch.setattr(newton, "small", lambda: None)
    checks.small()
    # Both types; cart-pole, Lorenz forward, Lorenz with gradient; the second time there is no room for all states.
    assert segments == 2 * [False, False, False, True, False, True]
