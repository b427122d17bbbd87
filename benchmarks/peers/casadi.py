"""CasADi: its virtual machine, and the C that it generates, with the horizon unrolled or looped over one step.

The generated C is for one problem, compiled as for production and called by a loop over the batch in C, so that nothing
but the generated code is timed. The virtual machine reads and writes our arrays itself: no conversion is timed.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casadi
import numpy as np
import torch

from benchmarks.build import BUILD, compile_seconds, load, shared_library
from benchmarks.contender import Contender, NotMeasured
from benchmarks.workloads.workload import Answer, Batch, Namespace, rk4

FLAGS = ["-std=gnu11", "-O3", "-march=native", "-fopenmp"]

# tgmath: sin of a float is sinf.
PROLOGUE = """
#include <tgmath.h>
#include <stdlib.h>
"""
# Gradients of a batch, (B, n) and (B, N m) in, (B,) and (B, N m) out.
LOOP = """
void gradients(long batch, int threads, const casadi_real* x, const casadi_real* u, casadi_real* j, casadi_real* g) {{
  #pragma omp parallel for num_threads(threads) if (threads > 1)
  for (long part = 0; part < threads; ++part) {{
    casadi_real* w = malloc(({w} + 1) * sizeof *w);
    casadi_int iw[{iw} + 1];
    const casadi_real* arg[{arg} + 1];
    casadi_real* res[{res} + 1];
    for (long b = batch * part / threads; b < batch * (part + 1) / threads; ++b) {{
      arg[0] = x + {n} * b, arg[1] = u + {nu} * b, res[0] = j + b, res[1] = g + {nu} * b;
      gradient(arg, res, iw, w, 0);
    }}
    free(w);
  }}
}}
"""


def _solve(rows: Any, right: Any) -> Any:
    matrix = casadi.vertcat(*(casadi.horzcat(*row) for row in rows))
    diagonal, upper, order = casadi.ldl(matrix)
    return casadi.vertsplit(casadi.ldl_solve(casadi.vertcat(*right), diagonal, upper, order))


CASADI = Namespace(casadi.sin, casadi.cos, _solve)


def virtual_machine(batch: Batch, threads: int) -> Contender:
    if batch.dtype != torch.float64:
        raise NotMeasured("CasADi's virtual machine computes in double alone")
    mapping = ("thread", threads) if threads > 1 else ("serial",)
    gradient = _unrolled(batch).map(batch.size, *mapping)
    inputs = batch.initial_state.numpy(), batch.control.numpy()
    arrays = (*inputs, np.zeros(batch.size), np.zeros(inputs[1].shape))
    buffer, trigger = gradient.buffer()
    for index in (0, 1):
        buffer.set_arg(index, arrays[index].data)
        buffer.set_res(index, arrays[2 + index].data)

    def call(_held: object = (gradient, buffer, arrays)) -> None:  # it holds addresses, so we hold arrays
        trigger()

    def answer() -> Answer:
        trigger()
        return Answer(torch.from_numpy(arrays[2]), torch.from_numpy(arrays[3]))

    return Contender("CasADi, virtual machine, unrolled", call, answer)


def unrolled_c(batch: Batch, threads: int) -> Contender:
    return _generated("CasADi, generated C, unrolled", _unrolled, batch, threads)


def looped_c(batch: Batch, threads: int) -> Contender:
    return _generated("CasADi, generated C, looped", _looped, batch, threads)


def seconds_to_compile(batch: Batch) -> dict[str, float]:
    """What gcc took for each form of the generated C, when it was made."""
    return {make.__name__[1:]: compile_seconds(_library(make, batch)) for make in (_unrolled, _looped)}


def _step(batch: Batch, y: Any, u: Any) -> Any:
    """One step of y = (x, int L) on symbols."""
    workload, controls = batch.workload, casadi.vertsplit(u)

    def rates(z: Any) -> Any:
        return casadi.vertcat(*workload.rates(CASADI, casadi.vertsplit(z), controls))

    return rk4(rates, y, batch.step_length)


def _unrolled(batch: Batch) -> Any:
    n, m, steps = batch.workload.n, batch.workload.m, batch.steps
    state, control = casadi.SX.sym("x", n), casadi.SX.sym("u", m, steps)
    y = casadi.vertcat(state, 0)
    for u in casadi.horzsplit(control):
        y = _step(batch, y, u)
    j = batch.workload.objective(casadi.vertsplit(y))
    return casadi.Function("gradient", [state, control], [j, casadi.gradient(j, control)])


def _looped(batch: Batch) -> Any:
    n, m, steps = batch.workload.n, batch.workload.m, batch.steps
    y, u = casadi.SX.sym("y", n + 1), casadi.SX.sym("u", m)
    step = casadi.Function("step", [y, u], [_step(batch, y, u)])
    end = casadi.Function("end", [y], [batch.workload.objective(casadi.vertsplit(y))])
    state, control = casadi.MX.sym("x", n), casadi.MX.sym("u", m, steps)
    j = end(step.fold(steps)(casadi.vertcat(state, 0), control))
    return casadi.Function("gradient", [state, control], [j, casadi.gradient(j, control)])


def _library(make: Callable[[Batch], Any], batch: Batch) -> Path:
    """The compiled function with its loop over a batch."""
    real = "double" if batch.dtype == torch.float64 else "float"
    name = re.sub(r"\W", "_", f"{batch.workload.name}{make.__name__}_{batch.steps}_{real}")
    folder = BUILD / "casadi"
    folder.mkdir(parents=True, exist_ok=True)
    gradient = make(batch)
    here = Path.cwd()
    os.chdir(folder)  # CasADi writes into the working directory alone
    try:
        gradient.generate(f"{name}.c", {"casadi_real": real})
    finally:
        os.chdir(here)
    source = folder / f"{name}.c"
    sizes = {"w": gradient.sz_w(), "iw": gradient.sz_iw(), "arg": gradient.sz_arg(), "res": gradient.sz_res()}
    loop = LOOP.format(n=batch.workload.n, nu=batch.workload.m * batch.steps, **sizes)
    source.write_text(PROLOGUE + source.read_text() + loop)
    return shared_library("casadi", source, ["gcc", *FLAGS])


def _generated(name: str, make: Callable[[Batch], Any], batch: Batch, threads: int) -> Contender:
    run = load(_library(make, batch)).gradients
    objective, gradient = torch.empty(batch.size, dtype=batch.dtype), torch.empty_like(batch.control)
    tensors = (batch.initial_state, batch.control, objective, gradient)
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    arguments = (ctypes.c_long(batch.size), ctypes.c_int(min(threads, batch.size)), *addresses)

    def call(_held: object = tensors) -> None:
        run(*arguments)

    def answer() -> Answer:
        call()
        return Answer(objective, gradient)

    return Contender(name, call, answer)
