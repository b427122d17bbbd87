"""Training in one call: what is minimised, what is kept, and how it ends."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from training_cases import Classifier, net, rings, samples

import pontryagin as pmp
from pontryagin.neural import Ending, Epoch
from pontryagin.neural.training_step import RATES, Descent

CROSS_ENTROPY = nn.functional.cross_entropy


def fitted(model: nn.Module, data: Any = None, loss: Any = "squared_error", **options: Any) -> pmp.History:
    """A few epochs of steps that do not depend on the order of tests."""
    options = {"epochs": 3, "batch_size": 8, "learning_rate": None, "progress": False, "seed": 0, **options}
    return pmp.fit(model, samples() if data is None else data, loss, **options)


def weights_of(model: nn.Module) -> list[Tensor]:
    return [w.detach().clone() for w in model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("optimizer", RATES)
def test_every_optimiser_by_name_lowers_the_objective(optimizer: str) -> None:
    history = fitted(net(), optimizer=optimizer)
    assert history["objective"][-1] < history["objective"][0]
    assert len(history) == 3 and history.status is Ending.COMPLETE
    assert all(norm > 0 for norm in history["gradient_norm"])


@pytest.mark.parametrize("kind", ["tensors", "arrays", "dataset", "loader"])
def test_data_of_every_kind_give_the_same_training(kind: str) -> None:
    x, y = samples()
    data: Any = {
        "tensors": (x, y),
        "arrays": (x.numpy(), y.numpy()),
        "dataset": TensorDataset(x, y),
        "loader": DataLoader(TensorDataset(x, y), batch_size=24),
    }[kind]
    model, twin = net(), net()
    fitted(model, data, batch_size=None)
    fitted(twin, batch_size=None)
    for a, b in zip(weights_of(model), weights_of(twin), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)  # sums over the batch in another order


def test_optimiser_may_be_given_or_made_of_the_parameters() -> None:
    by_name, given, made = net(), net(), net()
    fitted(by_name, optimizer="sgd", learning_rate=0.05)
    fitted(given, optimizer=torch.optim.SGD(given.parameters(), 0.05, momentum=0.9))
    fitted(made, optimizer=lambda weights: torch.optim.SGD(weights, 0.05, momentum=0.9))
    assert same(weights_of(by_name), weights_of(given)) and same(weights_of(by_name), weights_of(made))


def test_steps_are_those_of_a_loop_by_hand() -> None:
    x, y = samples()
    model, twin = net(running_cost=pmp.PathCost(velocity=0.1)), net(running_cost=pmp.PathCost(velocity=0.1))
    fitted(model, optimizer=lambda weights: torch.optim.SGD(weights, 0.1), batch_size=None)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        twin.objective(x, y).backward()
        optimizer.step()
    for a, b in zip(weights_of(model), weights_of(twin), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)  # sums over the batch in another order


def test_emsa_may_be_given_with_its_settings() -> None:
    model = net()
    emsa = pmp.EMSA(model, rho=2.0, iterations=3)
    history = fitted(model, optimizer=emsa, batch_size=None)
    assert emsa.accepted == 3
    assert sum(history["evaluations"]) == emsa.evaluations
    with pytest.raises(pmp.ProblemError, match="another net"):
        fitted(net(), optimizer=emsa)


def test_seed_settles_the_order_of_samples() -> None:
    first, second, other = net(), net(), net()
    for model, seed in ((first, 1), (second, 1), (other, 2)):
        fitted(model, seed=seed)
    assert same(weights_of(first), weights_of(second)) and not same(weights_of(first), weights_of(other))


def test_running_costs_of_contained_nets_are_part_of_the_objective() -> None:
    x, y = rings()
    plain, costly = Classifier(), Classifier(running_cost=pmp.PathCost(state=2.0, decay=1.0))
    one, other = (Descent(model, CROSS_ENTROPY, torch.optim.SGD(model.parameters(), 0.1)) for model in (plain, costly))
    _, cost = costly.net.with_cost(x)
    difference = other(x, y).objective - one(x, y).objective
    assert difference == pytest.approx(float(cost.mean().detach()), rel=1e-12)


def test_net_by_itself_and_inside_of_a_model_are_trained_alike() -> None:
    cost = pmp.PathCost(velocity=0.3, smoothness=0.1)
    alone, inside = net(running_cost=cost), nn.Sequential(net(running_cost=cost))
    one, other = fitted(alone), fitted(inside)
    assert one["objective"] == pytest.approx(other["objective"], rel=1e-10)
    assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-8)


def test_classes_are_measured_by_accuracy() -> None:
    x, y = rings()
    model = Classifier(augment=0)
    history = fitted(model, (x, y), CROSS_ENTROPY, validation=(x[:10], y[:10]), epochs=2)
    assert history.metrics == ("accuracy",)
    with torch.no_grad():
        exact = float((model(x[:10]).argmax(1) == y[:10]).double().mean())
    assert history["accuracy"][history.best - 1] == pytest.approx(exact)


def test_metrics_of_ones_own_are_measured_on_the_validation_data() -> None:
    x, y = samples()
    model = net()
    metrics = {"worst": lambda output, target: (output - target).abs().amax(1)}
    history = fitted(model, validation=(x[:5], y[:5]), metrics=metrics, batch_size=2, epochs=1)
    with torch.no_grad():
        exact = float((model(x[:5]) - y[:5]).abs().amax(1).mean())
    assert history["worst"] == [pytest.approx(exact)]


def test_without_validation_data_there_is_no_such_loss() -> None:
    history = fitted(net(), epochs=1)
    assert math.isnan(history["validation"][0]) and "validation" not in str(history)


def test_validation_is_the_loss_without_running_costs() -> None:
    x, y = samples()
    model = net(running_cost=pmp.PathCost(state=5.0))
    history = fitted(model, validation=(x[:5], y[:5]), epochs=1, batch_size=2)
    with torch.no_grad():
        exact = float((model(x[:5]) - y[:5]).square().sum(1).mean())
    assert history["validation"] == [pytest.approx(exact)]


def test_without_validation_the_score_has_the_running_costs() -> None:
    model = net(running_cost=pmp.PathCost(state=1.0))
    history = fitted(model, loss=lambda end, target: -0.01 * end.square().sum(1), batch_size=None, epochs=5)
    assert history.best == 5  # J falls, though the loss by itself rises


def test_best_weights_are_restored_and_patience_ends_the_training() -> None:
    x, y = samples()
    model = net()
    kept: list[list[Tensor]] = []
    history = fitted(
        model,
        (x, y),
        validation=(x, -y),  # the better the training, the worse after a while
        epochs=60,
        learning_rate=0.02,
        patience=4,
        callback=lambda epoch: kept.append(weights_of(model)),
    )
    assert history.status is Ending.PATIENCE
    assert len(history) == history.best + 4 < 60
    assert min(history["validation"]) == history["validation"][history.best - 1]
    assert same(weights_of(model), kept[history.best - 1])


def test_checkpoint_holds_the_best_weights(tmp_path: Any) -> None:
    model = Classifier()
    path = tmp_path / "best"
    fitted(model, rings(), CROSS_ENTROPY, checkpoint=path)
    other = Classifier()
    with torch.no_grad():
        other.head.weight.zero_()
    pmp.load_weights(other, tmp_path / "best.npz")
    assert same(weights_of(model), weights_of(other))
    assert [file.name for file in tmp_path.iterdir()] == ["best.npz"]


def test_checkpoint_of_another_model_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "best.npz"
    fitted(net(), checkpoint=path, epochs=1)
    before = net(steps=5)
    with pytest.raises(pmp.ProblemError, match=r"field\.0\.weight is \(4, 6, 2\) there and \(5, 6, 2\) here"):
        pmp.load_weights(before, path)
    assert same(weights_of(before), weights_of(net(steps=5)))
    with pytest.raises(pmp.ProblemError, match="it lacks head"):
        pmp.load_weights(Classifier(), path)
    with pytest.raises(pmp.ProblemError, match="there is no file"):
        pmp.load_weights(net(), tmp_path / "none.npz")
    path.write_bytes(b"no weights")
    with pytest.raises(pmp.ProblemError, match="holds no weights"):
        pmp.load_weights(net(), path)


def test_weights_of_sixteen_bits_survive_a_checkpoint(tmp_path: Any) -> None:
    model, other = nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2).bfloat16()
    x = torch.randn(4, 2).bfloat16()
    fitted(model, (x, x), checkpoint=tmp_path / "best.npz", epochs=1)
    pmp.load_weights(other, tmp_path / "best.npz")
    assert same(weights_of(model), weights_of(other))


def test_interrupt_ends_with_the_best_weights_and_says_so() -> None:
    model = net()
    kept: list[list[Tensor]] = []

    def interrupt(epoch: Epoch) -> None:
        kept.append(weights_of(model))
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    history = fitted(model, epochs=9, callback=interrupt)
    assert history.status is Ending.INTERRUPTED and len(history) == 2 and history.best == 2
    assert same(weights_of(model), kept[1])
    assert "interrupted" in str(history)


def test_interrupt_in_the_first_epoch_keeps_what_was_reached() -> None:
    model, calls = net(), []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return (output - target).square().sum(1)

    history = fitted(model, loss=loss)
    assert history.status is Ending.INTERRUPTED and len(history) == 0 and history.best == 0
    assert not same(weights_of(model), weights_of(net()))
    assert str(history).startswith("training: 0 epochs, interrupted")


def test_callback_ends_the_training() -> None:
    history = fitted(net(), callback=lambda epoch: epoch.epoch == 2)
    assert history.status is Ending.STOPPED and len(history) == 2


def test_number_that_is_not_finite_is_located_and_the_best_weights_restored() -> None:
    x, y = samples()
    model = net()
    kept: list[list[Tensor]] = []
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def explode(epoch: Epoch) -> None:
        kept.append(weights_of(model))
        optimizer.param_groups[0]["lr"] = 1e200

    with pytest.raises(pmp.NonFiniteError, match=r"epoch 2, batch 2: .*not finite"):
        fitted(model, (x, y), optimizer=optimizer, callback=explode)
    assert same(weights_of(model), kept[0])


def test_sample_that_is_not_finite_is_named_and_the_start_restored() -> None:
    x, y = samples()
    x[5] = math.nan
    model = net()
    with pytest.raises(pmp.NonFiniteError, match=r"epoch 1, batch 1: sample 5 of the batch"):
        fitted(model, DataLoader(TensorDataset(x, y), batch_size=8))
    assert same(weights_of(model), weights_of(net()))


def test_loss_that_is_not_finite_is_told_from_the_net() -> None:
    with pytest.raises(pmp.NonFiniteError, match="epoch 1, batch 1: the objective is nan, and not by a state"):
        fitted(net(), loss=lambda output, target: output.sum(1) * math.nan)


def test_evaluations_count_what_the_optimiser_asked_for() -> None:
    assert fitted(net(), epochs=1)["evaluations"] == [3 * 4 * 4]  # 3 batches, 4 steps of 4 stages
    assert fitted(net(), epochs=1, optimizer="lbfgs")["evaluations"][0] > 3 * 4 * 4


def test_rate_of_a_scheduler_is_in_the_history() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    history = fitted(model, optimizer=optimizer, callback=lambda epoch: scheduler.step())
    assert history["learning_rate"] == pytest.approx([0.2, 0.1, 0.05])


def test_model_is_scored_in_evaluation_mode_and_left_in_its_own() -> None:
    modes: list[bool] = []

    class Watched(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(x)

    model = Watched()
    x, y = rings()
    fitted(model, (x, y), CROSS_ENTROPY, validation=(x[:4], y[:4]), epochs=1, batch_size=20)
    assert modes == [True, True, False] and model.training


def test_history_is_a_table_that_marks_the_best_epoch() -> None:
    x, y = rings()
    history = fitted(Classifier(), (x, y), CROSS_ENTROPY, validation=(x, y), epochs=3, batch_size=None)
    lines = str(history).splitlines()
    assert lines[0] == "training: 3 epochs, complete: All epochs were trained."
    assert lines[1].split() == [
        "epoch", "objective", "validation", "accuracy", "rate", "gradient", "NFE", "seconds"
    ]  # fmt: skip
    assert len(lines) == 6 and lines[1 + history.best].startswith("*")
    with pytest.raises(pmp.ProblemError, match="did you mean objective"):
        history["objectiv"]


def test_long_history_is_thinned() -> None:
    row = fitted(net(), epochs=1).epochs[0]
    rows = tuple(Epoch(**{**vars(row), "epoch": k}) for k in range(1, 101))
    lines = str(pmp.History(rows, 38, Ending.COMPLETE)).splitlines()
    assert len(lines) <= 30 and any(line.split()[:2] == ["*", "38"] for line in lines) and lines[-2].split()[0] == "100"


def test_progress_is_a_bar_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    fitted(net(), epochs=2, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "2/2" in err and "objective" in err
    fitted(net(), epochs=1)
    assert capsys.readouterr() == ("", "")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "optimizer": ({"optimizer": "adamm"}, "did you mean adam"),
    "optimizer kind": ({"optimizer": 3}, "optimizer is 3; give one of adam"),
    "loss": ({"loss": "cross"}, "loss 'cross' is not known"),
    "loss kind": ({"loss": 3}, "the loss is a int"),
    "rate": ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    "rate of emsa": ({"optimizer": "emsa", "learning_rate": 1.0}, "learning_rate= belongs to"),
    "epochs": ({"epochs": 0}, "epochs is 0"),
    "patience": ({"patience": 0}, "patience is 0"),
    "batch size": ({"batch_size": 0}, "batch_size is 0"),
    "callback": ({"callback": 3}, "callback is a int"),
    "data": ({"data": 3}, "data is a int; give a DataLoader"),
    "lengths": ({"data": (torch.zeros(3, 2), torch.zeros(4, 2))}, "one target a sample"),
    "no samples": ({"data": (torch.zeros(0, 2), torch.zeros(0, 2))}, "one target a sample"),
    "no pairs": ({"data": TensorDataset(torch.zeros(3, 2))}, "no pair"),
    "checkpoint": ({"checkpoint": "missing_folder/best.npz"}, "cannot be written"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_fit_cannot_use_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pmp.ProblemError, match=message):
        fitted(net(), **options)


def test_model_without_weights_to_train_is_refused() -> None:
    with pytest.raises(pmp.ProblemError, match="parameters that require a gradient"):
        fitted(net().requires_grad_(False))
    with pytest.raises(pmp.ProblemError, match="by itself"):
        fitted(Classifier(), rings(), CROSS_ENTROPY, optimizer="emsa")
