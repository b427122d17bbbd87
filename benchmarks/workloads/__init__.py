"""The problems of the benchmarks: each file states one as plain formulas that every package can run."""

from __future__ import annotations

from benchmarks.workloads.cartpole import CARTPOLE
from benchmarks.workloads.chain import CHAIN
from benchmarks.workloads.lorenz import LORENZ
from benchmarks.workloads.quadrotor import QUADROTOR
from benchmarks.workloads.van_der_pol import VAN_DER_POL

__all__ = ["CARTPOLE", "CHAIN", "LORENZ", "QUADROTOR", "VAN_DER_POL"]
