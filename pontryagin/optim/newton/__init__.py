"""Newton's method for optimal control: a batched interior point method with Riccati recursions.

It sees a Shooting (pontryagin/shooting.py): values and derivatives of the steps, cost and constraints of a batch of
problems; never a model, a graph or a device. From the inside out:

    riccati.py       the linear-quadratic problem of a step
    barrier.py       bounds and inequalities: slacks and multipliers
    search.py        the filter; line_search.py: how far along a step, straight or not
    scaling.py       what is large and what is small
    iterate.py       where problems stand
    newton.py        the loop
    guess.py         which path to begin with
    worst.py         what a problem fails at, in words

The compiled core has the same method on tiles of problems (csrc/include/pontryagin/newton_tile.hpp): it is what `solve`
runs, and this is what it is tested against.
"""

from pontryagin.optim.newton.guess import better_start
from pontryagin.optim.newton.newton import solve_newton
from pontryagin.optim.newton.result import NewtonInfo, NewtonResult, NewtonSettings, Warm

__all__ = ["NewtonInfo", "NewtonResult", "NewtonSettings", "Warm", "better_start", "solve_newton"]
