"""Tableaus prove themselves, and refuse what is not a method of the order they claim."""

from __future__ import annotations

import dataclasses

import pytest

from pontryagin.errors import ProblemError
from pontryagin.tableau import RK4, TABLEAUS, Tableau, density, size, tableau_named, trees_of, trees_up_to

ORDERS = {
    "euler": 1,
    "midpoint": 2,
    "heun": 2,
    "rk4": 4,
    "rk38": 4,
    "bogacki_shampine": 3,
    "dormand_prince": 5,
    "tsitouras": 5,
}


def test_there_are_as_many_rooted_trees_as_the_books_say() -> None:
    assert [len(trees_of(nodes)) for nodes in range(1, 8)] == [1, 1, 2, 4, 9, 20, 48]


def test_density_of_the_tall_tree_is_a_factorial() -> None:
    tall: tuple[object, ...] = ()
    for _ in range(4):
        tall = (tall,)
    assert (size(tall), density(tall)) == (5, 120)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TABLEAUS)
def test_tableau_has_its_order_and_no_higher_one(name: str) -> None:
    tableau = TABLEAUS[name]
    assert tableau.order == ORDERS[name]
    assert max(abs(tableau.order_residual(tree)) for tree in trees_up_to(tableau.order)) < 2e-14
    assert max(abs(tableau.order_residual(tree)) for tree in trees_of(tableau.order + 1)) > 1e-4


@pytest.mark.parametrize("name", TABLEAUS)
def test_every_coefficient_is_proved_by_some_condition(name: str) -> None:
    """A wrong digit anywhere is noticed: this is what proving is for."""
    tableau = TABLEAUS[name]
    for i, row in enumerate(tableau.a):
        for j in range(len(row)):
            wrong = tuple(
                tuple(value + 1e-6 * (k == i and at == j) for at, value in enumerate(entries))
                for k, entries in enumerate(tableau.a)
            )
            with pytest.raises(ProblemError, match=r"row .* of a sums to"):
                dataclasses.replace(tableau, a=wrong)
    for i in range(tableau.stages):
        wrong_weights = tuple(value + 1e-6 * (at == i) for at, value in enumerate(tableau.b))
        with pytest.raises(ProblemError, match="condition of order 1 fails"):
            dataclasses.replace(tableau, b=wrong_weights)


def test_claimed_order_is_checked() -> None:
    with pytest.raises(ProblemError, match="condition of order 5 fails"):
        dataclasses.replace(RK4, order=5)


def test_implicit_methods_are_refused() -> None:
    with pytest.raises(ProblemError, match="an explicit method has 1 nodes and rows"):
        Tableau("implicit", 1, c=(1.0,), a=((1.0,),), b=(1.0,))


def test_unused_last_stage_is_refused() -> None:
    with pytest.raises(ProblemError, match="last stage has no weight"):
        Tableau("lazy", 1, c=(0.0, 1.0), a=((), (1.0,)), b=(1.0, 0.0))


def test_scheme_is_found_by_name_or_taken_as_it_is() -> None:
    assert tableau_named("rk4") is RK4
    assert tableau_named(RK4) is RK4


@pytest.mark.parametrize("name", ["rk5", "", None, 4])
def test_unknown_scheme_is_named_in_the_error(name: object) -> None:
    with pytest.raises(ProblemError, match=r"scheme .* is not known"):
        tableau_named(name)  # type: ignore[arg-type]
