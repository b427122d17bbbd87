"""The command line: what it prints, where, and its exit status."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from pontryagin import problems
from pontryagin.backend.toolchain import find_compiler
from pontryagin.cli import main

JSON_KEYS = {
    "name", "objective", "reference", "relative_error", "status", "success", "iterations", "seconds", "backend",
    "method",
}  # fmt: skip

QUICK = ["solve", "scalar_lqr", "--steps", "10"]


def run(capsys, *arguments):
    try:
        status = main(list(arguments))
    except SystemExit as leaving:  # argparse leaves by itself
        status = leaving.code
    out, err = capsys.readouterr()
    return status, out, err


def strict_json(text):
    """One JSON value and nothing else; NaN and infinity are refused."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


# -- list, doctor, cache -----------------------------------------------------------------------------------------------


def test_list_prints_one_name_a_line_or_one_array(capsys):
    status, out, err = run(capsys, "list")
    assert status == 0 and err == "" and out.split() == problems.names()
    status, out, err = run(capsys, "list", "--json")
    assert status == 0 and err == "" and strict_json(out) == problems.names()


def test_the_command_line_itself_does_not_import_torch():
    package = Path(problems.__file__).parents[1]
    code = (
        "import sys, types; package = sys.modules['pontryagin'] = types.ModuleType('pontryagin');"
        f"package.__path__ = [{str(package)!r}]; from pontryagin.cli import main; main(['list']);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_the_package_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "pontryagin", "list"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stdout.split() == problems.names()


def doctor(capsys):
    status, out, err = run(capsys, "doctor")
    assert status == 0 and err == ""
    return {line[:16].strip(): line[16:] for line in out.splitlines()}


def test_doctor_has_a_line_for_everything(capsys):
    found = doctor(capsys)
    assert {"python", "torch", "threads", "interpreter", "compiler", "native", "cache", "CUDA", "NVRTC"} <= found.keys()
    assert all(found.values())


def test_doctor_survives_what_is_broken(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pontryagin._core", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    assert "the compiled module does not load" in out and "could not be examined" in out and "none found" in out


def test_doctor_says_what_compiles_and_where_it_is_kept(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "cache"))
    found = doctor(capsys)
    assert find_compiler().version in found["compiler"] and found["native"].startswith("works")
    assert found["cache"].startswith(f"{tmp_path / 'cache'}: 0 libraries, 0.0 of 512 MiB")
    assert not (tmp_path / "cache").exists()  # looked at, not made


def test_doctor_says_what_follows_from_a_compiler_that_is_missing(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    found = doctor(capsys)
    assert found["compiler"].startswith("none found: no C++ compiler")
    assert found["native"] == "missing, for want of a compiler; the interpreter is used"


def test_doctor_shows_the_lines_of_a_compiler_that_fails(capsys, monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-O3*) echo no assembler; exit 1;; *) echo some compiler;; esac\n')
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", str(compiler))
    status, out, _ = run(capsys, "doctor")
    assert status == 0 and f"\n{'native':16}missing: the C++ compiler failed" in out
    assert f"\n{'':16}no assembler\n" in out


def test_doctor_says_why_a_cache_cannot_be_used(capsys, monkeypatch, tmp_path):
    tmp_path.chmod(0o777)
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path / "cache"))
    assert "can be written to by others" in doctor(capsys)["cache"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory in which nobody can create anything")
def test_doctor_says_what_follows_where_the_cache_cannot_be_written_to(capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", "/proc/pontryagin")
    assert "each process compiles into a temporary directory" in doctor(capsys)["cache"]


def test_cache_says_where_how_many_and_how_large_and_what_it_removed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path))
    assert run(capsys, "cache") == (0, f"{tmp_path}: 0 libraries, 0.0 of 512 MiB\n", "")
    (tmp_path / f"{64 * 'a'}.so").write_bytes(bytes(2**20))
    assert run(capsys, "cache")[1] == f"{tmp_path}: 1 library, 1.0 of 512 MiB\n"
    removed = "removed 1 file, 1.0 MiB\n"
    assert run(capsys, "cache", "--clear") == (0, f"{removed}{tmp_path}: 0 libraries, 0.0 of 512 MiB\n", "")


def test_a_cache_that_cannot_be_used_leaves_with_2(capsys, monkeypatch, tmp_path):
    tmp_path.chmod(0o777)
    monkeypatch.setenv("PONTRYAGIN_CACHE_DIR", str(tmp_path))
    status, out, err = run(capsys, "cache", "--clear")
    assert status == 2 and out == "" and "can be written to by others" in err


# -- solve -------------------------------------------------------------------------------------------------------------


def test_solve_prints_the_table_the_answer_and_the_report(capsys, tmp_path):
    picture, file = tmp_path / "out.png", tmp_path / "out.npz"
    status, out, err = run(capsys, *QUICK, "--plot", str(picture), "--save", str(file), "--accuracy", "1e-3")
    assert status == 0
    assert "objective" in err and "primal" in err and "residual" in out
    for part in ("scalar_lqr: converged", "reference 0.380797077978, relative error", "optimality report", "pass"):
        assert part in out
    assert picture.stat().st_size > 10_000 and file.exists()


def test_json_is_one_object_on_standard_output(capsys):
    status, out, err = run(capsys, *QUICK, "--json")
    answer = strict_json(out)
    assert status == 0 and out.count("\n") == 1 and "objective" in err
    assert answer.keys() >= JSON_KEYS
    assert answer["name"] == "scalar_lqr" and answer["status"] == "converged" and answer["success"] is True
    assert answer["reference"] == pytest.approx(math.tanh(1) / 2, abs=1e-12)
    assert answer["relative_error"] == pytest.approx(abs(answer["objective"] / answer["reference"] - 1), rel=1e-6)
    assert "checks" not in answer


def test_json_holds_the_report_where_asked(capsys):
    answer = strict_json(run(capsys, *QUICK, "--json", "--verify", "--accuracy", "1e-3")[1])
    assert answer["verified"] is True and answer["checks"]["costate"]["passed"] is True


def test_a_batch_gives_lists_and_a_reference_for_the_first_alone(capsys):
    status, out, _ = run(capsys, *QUICK, "--json", "--batch", "3")
    answer = strict_json(out)
    assert status == 0
    for key in ("objective", "reference", "relative_error", "status", "success", "iterations"):
        assert len(answer[key]) == 3
    assert answer["reference"][1:] == [None, None] and answer["relative_error"][0] < 1e-2
    assert len(set(answer["objective"])) == 3
    assert answer["objective"] == strict_json(run(capsys, *QUICK, "--json", "--batch", "3")[1])["objective"]
    other = strict_json(run(capsys, *QUICK, "--json", "--batch", "3", "--seed", "1")[1])
    assert other["objective"][0] == answer["objective"][0] and other["objective"][1] != answer["objective"][1]


def test_nan_is_null_and_the_status_is_1(capsys, monkeypatch):
    problem = problems.get("scalar_lqr").problem()

    class Entry:
        reference = problems.get("scalar_lqr").reference
        guess, steps = None, None

        @staticmethod
        def problem():
            return type(problem)(
                dynamics=lambda t, x, u: u / (x - x),
                running_cost=lambda t, x, u: x[0] ** 2,
                initial_state=[1.0],
                horizon=(0.0, 1.0),
                control_dim=1,
            )

    monkeypatch.setattr("pontryagin.problems.get", lambda name: Entry)
    status, out, _ = run(capsys, *QUICK, "--json")
    answer = strict_json(out)
    assert status == 1 and answer["objective"] is None and answer["relative_error"] is None
    assert answer["status"] == "not_finite" and answer["success"] is False


def test_a_solve_that_does_not_converge_leaves_with_1(capsys):
    status, out, _ = run(capsys, *QUICK, "--method", "lbfgs", "--max-iterations", "1", "--json")
    assert status == 1 and strict_json(out)["status"] == "max_iterations"


def test_the_guess_of_the_gallery_is_used(capsys):
    status, out, _ = run(capsys, "solve", "brachistochrone_unit", "--steps", "12", "--json")
    assert status == 0 and strict_json(out)["relative_error"] < 1e-3


WRONG = {
    "unknown problem": (["solve", "scalar_lqg"], "did you mean scalar_lqr"),
    "unknown method": ([*QUICK, "--method", "lbgfs"], "did you mean lbfgs"),
    "planned method": ([*QUICK, "--method", "indirect"], "not part of this version"),
    "unknown backend": ([*QUICK, "--backend", "gpu"], "expected one of auto"),
    "no steps": (["solve", "scalar_lqr", "--steps", "0"], "steps is 0"),
    "steps of words": (["solve", "scalar_lqr", "--steps", "many"], "invalid int value"),
    "empty batch": ([*QUICK, "--batch", "0"], "--batch is 0"),
    "no such directory": ([*QUICK, "--plot", "nowhere/a.png"], "there is no directory"),
    "unknown command": (["slove", "scalar_lqr"], "invalid choice"),
    "no command": ([], "COMMAND"),
    "no name": (["solve"], "NAME"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_leaves_with_2_and_says_why_on_standard_error(capsys, name):
    arguments, message = WRONG[name]
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and message in err


def test_a_picture_without_matplotlib_is_refused_before_the_solve(capsys, monkeypatch):
    monkeypatch.setattr("pontryagin.cli.find_spec", lambda name: None)
    status, out, err = run(capsys, *QUICK, "--plot", "a.png")
    assert status == 2 and out == "" and "pip install 'pontryagin[plot]'" in err


def test_ctrl_c_before_there_is_an_answer_leaves_with_1(capsys, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("pontryagin.problems.get", interrupt)
    assert run(capsys, *QUICK)[0] == 1
