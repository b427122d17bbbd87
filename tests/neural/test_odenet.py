"""The net as a module: what it takes, what it refuses, what it does among other modules."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import pontryagin as pmp
from tests.neural.nets import COSTS, SPLINES, Timed, gradients, perceptron, states, value, varied

ALL = ["discrete", "checkpoint", "reversible", "continuous"]


def net_of(field=None, **options):
    return varied(pmp.ODENet(field or perceptron(), **{"steps": 5, "backend": "torch", **options}))


# ---- the numbers ----------------------------------------------------------------------------------------------------


def test_linear_field_gives_the_exponential():
    field = nn.Linear(2, 2, bias=False).double()
    net = pmp.ODENet(field, horizon=(0.5, 2.0), steps=40, backend="torch")
    expected = states() @ torch.linalg.matrix_exp(1.5 * field.weight.detach()).T
    torch.testing.assert_close(net(states()), expected, rtol=1e-6, atol=1e-8)


def test_time_enters_as_argument_or_as_last_column():
    column = perceptron()

    class Argument(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = column

        def forward(self, t, x):
            return self.inner(torch.cat([x, t.expand(len(x), 1)], 1))

    torch.testing.assert_close(
        pmp.ODENet(Argument(), backend="torch")(states()), pmp.ODENet(column, backend="torch")(states())
    )


@pytest.mark.parametrize("weights", SPLINES.values(), ids=SPLINES)
def test_a_net_of_equal_coefficients_is_the_field_itself(weights):
    one, constant = (pmp.ODENet(perceptron(), steps=5, weights=w, backend="torch") for w in (weights, "constant"))
    torch.testing.assert_close(one(states()), constant(states()), rtol=1e-13, atol=1e-13)


def test_running_cost_is_the_integral():
    """x' = a x, L = |x|^2 / 2 and |f|^2 / 2: integrals of exponentials."""
    field = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        field.weight.fill_(0.7)
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    net = pmp.ODENet(field, steps=50, running_cost=pmp.PathCost(state=1, velocity=3, decay=2), backend="torch")
    integral = 0.5 * x[:, 0] ** 2 * (torch.tensor(1.4).double().exp() - 1) / 1.4
    torch.testing.assert_close(net.with_cost(x)[1], integral * (1 + 3 * 0.49) + 0.49, rtol=1e-6, atol=0)


def test_costs_of_weights_are_exact_on_any_grid():
    cost = pmp.PathCost(decay=2.0, smoothness=3.0)
    net = net_of(weights=pmp.WeightSpline(1, intervals=1), running_cost=cost, steps=3)
    w0, w1 = (torch.cat([w[k].flatten() for w in net.parameters()]) for k in (0, 1))
    expected = (w0 @ w0 + w0 @ w1 + w1 @ w1) / 3 + 1.5 * (w1 - w0).square().sum()
    torch.testing.assert_close(net.with_cost(states())[1], expected.expand(3))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("backend", ["torch", "fused"])
@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_objective_is_loss_and_running_cost_reduced(cost, backend, reduction):
    net, x, y = net_of(running_cost=cost, backend=backend), states(), states(seed=1).requires_grad_()
    end, spent = net.with_cost(x)
    samples = (end - y).square().sum(1) + spent
    expected = samples.mean() if reduction == "mean" else samples.sum()
    value_ = net.objective(x, y, reduction=reduction)
    torch.testing.assert_close(value_, expected)
    ours, theirs = (torch.autograd.grad(3 * v, [y, *net.parameters()]) for v in (value_, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    by_function = net.objective(x, y, lambda a, b: (a - b).square().sum(1), reduction=reduction)
    torch.testing.assert_close(by_function, expected)


def test_running_costs_of_nets_in_a_model_are_collected():
    net = net_of(running_cost=COSTS["all"])
    model = nn.Sequential(net, nn.Linear(2, 1).double())
    with pmp.running_costs() as costs:
        model(states())
    torch.testing.assert_close(costs, [net.with_cost(states())[1]])
    model(states())
    assert len(costs) == 1


# ---- trajectories ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", SPLINES.values(), ids=SPLINES)
def test_trajectory_holds_the_principle(weights, reduction):
    net, x = net_of(weights=weights, running_cost=COSTS["all"]), states()
    path = net.trajectory(x, lambda end: (end**2).sum(1), reduction=reduction)
    scale = 1 / len(x) if reduction == "mean" else 1
    g_x, g_w = gradients(net, x)
    assert path.reduction == reduction
    torch.testing.assert_close(path.state[:, -1], net(x))
    torch.testing.assert_close(path.costate[:, -1], scale * 2 * net(x))  # p(t1) = phi_x
    torch.testing.assert_close(path.costate[:, 0], scale * g_x)
    torch.testing.assert_close(path.objective, scale * value(net, x))
    integrals = torch.from_numpy(net.spline.integrals)
    for name, g in path.weight_gradient.items():
        mass = integrals.reshape(-1, *[1] * (g.dim() - 1))
        torch.testing.assert_close(g * mass, scale * g_w[f"field.{name}"])


def test_hamiltonian_is_constant_where_nothing_depends_on_time():
    net = pmp.ODENet(perceptron(time=False), steps=100, running_cost=pmp.PathCost(state=1.0), backend="torch")
    H = net.trajectory(states(), lambda end: (end**2).sum(1)).hamiltonian
    torch.testing.assert_close(H, H[:, :1].expand_as(H), rtol=1e-6, atol=1e-8)


def test_trajectory_of_a_convolutional_net_has_its_shapes():
    net = pmp.ODENet(nn.Conv2d(2, 2, 3, padding=1).double(), steps=3, backend="torch")
    path = net.trajectory(torch.ones(4, 2, 5, 6, dtype=torch.float64), lambda end: end.mean())
    assert path.state.shape == path.costate.shape == (4, 4, 2, 5, 6)
    assert path.hamiltonian.shape == (4, 4) and path.time.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


# ---- grids ----------------------------------------------------------------------------------------------------------


def test_a_finer_grid_nears_the_flow_of_the_same_weights():
    net = net_of(weights="per_step", steps=4)
    fine, finer = net.regrid(steps=64), net.regrid(steps=256)
    assert (fine.steps, fine.spline) == (64, net.spline)
    assert (fine(states()) - finer(states())).norm() < 1e-3 * (net(states()) - finer(states())).norm()


def test_a_grid_may_be_coarser_than_the_weights():
    net = net_of(weights="per_step", steps=8).regrid(steps=3)
    assert torch.isfinite(net(states())).all() and net.field[0].weight.shape[0] == 8


def test_regrid_can_change_space_and_scheme_and_leaves_the_net_alone():
    net = net_of(weights=pmp.WeightSpline(1, intervals=2))
    before = net(states())
    other = net.regrid(steps=10, scheme="tsitouras", weights=pmp.WeightSpline(1, intervals=4))
    assert other.field[0].weight.shape[0] == 5 and other.tableau.name == "tsitouras"
    torch.testing.assert_close(other(states()), net.regrid(steps=200)(states()), rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        other.field[0].weight.zero_()
    assert torch.equal(net(states()), before)


# ---- among other modules --------------------------------------------------------------------------------------------


def test_the_field_is_copied():
    field = perceptron()
    net = pmp.ODENet(field, backend="torch")
    net(states()).sum().backward()
    assert field[0].weight.grad is None and field[0].weight.shape == (5, 3)


@pytest.mark.parametrize("backend", ["torch", "fused"])
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["deepcopy", "pickle"]
)
def test_copies_answer_alike(duplicate, backend):
    net = net_of(backend=backend)
    net(states())
    assert torch.equal(duplicate(net)(states()), net(states()))


def test_state_dict_has_the_names_of_the_field():
    net, other = net_of(), pmp.ODENet(perceptron(), steps=5, backend="torch")
    assert list(net.state_dict()) == ["field.0.weight", "field.0.bias", "field.2.weight", "field.2.bias"]
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(states()), net(states()))


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_any_optimiser_trains_it(optimiser):
    net = net_of(backend="fused")
    steps = optimiser(net.parameters(), lr=1e-2)
    first = net.objective(states(), torch.zeros(3, 2).double()).item()
    for _ in range(20):
        steps.zero_grad()
        net.objective(states(), torch.zeros(3, 2).double()).backward()
        steps.step()
    assert net.objective(states(), torch.zeros(3, 2).double()).item() < 0.9 * first


# torch warns of its own look at tensors that are handed over where a graph breaks
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_what_surrounds_it_can_be_compiled(backend):
    net = net_of(backend=backend)

    def model(x):
        return torch.sin(net(torch.cos(x))) * 2

    compiled = torch.compile(model, backend="eager")  # the compiler's front end alone: it breaks the graph at the net
    torch.testing.assert_close(compiled(states()), model(states()))


@pytest.mark.parametrize("gradient", ALL)
def test_bfloat16_runs_on_the_torch_path(gradient):
    net, x = net_of(gradient=gradient).to(torch.bfloat16), states().to(torch.bfloat16).requires_grad_()
    end = net(x)
    end.sum().backward()
    assert end.dtype == x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(end.double(), net_of(gradient=gradient)(states()), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("gradient", ALL)
@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_none_and_one(batch, gradient):
    net, x = net_of(gradient=gradient, weights="linear"), states()[:batch].clone().requires_grad_()
    end = net(x)
    end.sum().backward()
    assert end.shape == (batch, 2) and x.grad.shape == (batch, 2)
    torch.testing.assert_close(end, net(states())[:batch], rtol=1e-13, atol=1e-13)
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_strides_do_not_matter(backend):
    net = net_of(backend=backend)
    apart = torch.zeros(2, 6, dtype=torch.float64)
    apart[:, ::2] = states().T
    torch.testing.assert_close(net(apart[:, ::2].T), net(states()))
    image = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    conv = pmp.ODENet(nn.Conv2d(3, 3, 3, padding=1), steps=2, backend="torch")
    torch.testing.assert_close(conv(image.to(memory_format=torch.channels_last)), conv(image))


def test_augmented_components_start_at_zero_and_stay_in_the_output():
    net = pmp.ODENet(perceptron(width=4), augment=2, backend="torch")
    end = net(states())
    assert end.shape == (3, 4)
    padded = torch.cat([states(), torch.zeros(3, 2).double()], 1)
    assert torch.equal(pmp.ODENet(perceptron(width=4), backend="torch")(padded), end)
    conv = pmp.ODENet(nn.Conv2d(5, 5, 1).double(), augment=3, backend="torch")
    assert conv(torch.ones(1, 2, 3, 3, dtype=torch.float64)).shape == (1, 5, 3, 3)


@pytest.mark.parametrize("gradient", ["discrete", "checkpoint", "reversible"])
def test_dropout_has_one_mask_for_a_forward_pass(gradient):
    """With one mask the net is a net with fixed weights, whose gradient differences confirm."""
    field = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Dropout(0.5), nn.Linear(50, 2)).double()
    net, x = pmp.ODENet(field, steps=4, gradient=gradient, backend="torch"), states()
    assert not torch.equal(net(x), net(x))
    torch.manual_seed(5)
    moved = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(net(moved).sum(), moved)
    ends = []
    for sign in (1, -1):
        torch.manual_seed(5)
        ends.append(net(x + sign * 1e-6).detach().sum())
    assert float((ends[0] - ends[1]) / 2e-6) == pytest.approx(float(g.sum()), rel=1e-6)
    net.eval()
    assert torch.equal(net(x), net(x))


def test_dropout_leaves_the_random_numbers_of_others_alone():
    net = pmp.ODENet(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), backend="torch")
    torch.manual_seed(1)
    net(states().float())
    after = torch.rand(3)
    torch.manual_seed(1)
    torch.randint(2**62, ())
    assert torch.equal(after, torch.rand(3))


# ---- choice of the backend ------------------------------------------------------------------------------------------


def test_perceptrons_are_recognised():
    net = pmp.ODENet(perceptron())
    assert net.backend == "fused" and "perceptron" in net.reason


@pytest.mark.parametrize(
    ("field", "options", "reason"),
    [
        (Timed(), {}, "Timed, not an nn.Sequential"),
        (nn.Sequential(nn.Linear(2, 3), nn.ELU(), nn.Linear(3, 2)), {}, "layer 1 of the field is a ELU"),
        (nn.Sequential(nn.Linear(2, 3), nn.Softplus(2), nn.Linear(3, 2)), {}, "beta=2"),
        (nn.Sequential(nn.Tanh(), nn.Linear(2, 2)), {}, "layer 0 .* does not follow"),
        (nn.Sequential(nn.Tanh()), {}, "does not follow"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), {}, "Dropout"),
        (nn.Sequential(*[nn.Linear(2, 2)] * 2), {}, "share parameters"),
        (perceptron(), {"gradient": "reversible"}, "gradient='reversible' has no fused kernel"),
        (perceptron(), {"running_cost": lambda t, x, w: x.sum(1)}, "a PathCost is fused"),
        (perceptron(hidden=4000), {}, "a layer of 4000 units is wider than 256"),
    ],
)
def test_what_is_not_fused_says_why_once(field, options, reason):
    with pytest.warns(UserWarning, match=f"runs on PyTorch, because .*{reason}"):
        net = pmp.ODENet(field, **options)
    assert net.backend == "torch"
    net(torch.zeros(1, 2, dtype=next(net.parameters()).dtype if list(net.parameters()) else torch.float64))
    if "wider" not in reason:
        with pytest.raises(pmp.ProblemError, match=reason):
            pmp.ODENet(field, backend="fused", **options)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gradient": "adjoint"}, "gradient 'adjoint' is not known"),
        ({"backend": "cuda:0"}, "backend 'cuda:0' is not known"),
        ({"scheme": "rk5"}, "scheme 'rk5' is not known"),
        ({"horizon": (1.0, 0.0)}, "t1 must be later than t0"),
        ({"horizon": (0.0, float("inf"))}, "both finite"),
        ({"horizon": 1.0}, "give two times"),
        ({"steps": 0}, "0 steps does not exist"),
        ({"augment": -1}, "augment=-1"),
        ({"running_cost": 3}, "running_cost is a int"),
        ({"weights": pmp.WeightSpline(0, knots=(0.0, 0.5))}, "do not cover the horizon"),
        ({"weights": "spline"}, "weights 'spline' are not known"),
    ],
)
def test_wrong_options_say_what_is_right(options, sentence):
    with pytest.raises(pmp.ProblemError, match=sentence):
        pmp.ODENet(perceptron(), **options)


class NoField(nn.Module):
    def forward(self, a, b, c):
        return a


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        (lambda t, x: x, "the field is a function"),
        (NoField(), "takes 3 arguments"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), "layer '1' of the field is a BatchNorm1d"),
        (nn.LazyLinear(2), "has no shape yet"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_is_no_field_says_so(field, sentence):
    with pytest.raises(pmp.ProblemError, match=sentence):
        pmp.ODENet(field, backend="torch")


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        ([[1.0, 2.0]], "input of the net is list"),
        (torch.ones(2, 2, dtype=torch.long), "input of the net is torch.int64"),
        (torch.ones(2).double(), "give a batch"),
        (torch.ones(2, 3).double(), r"shape \(3,\) a sample; the field takes \(2,\)"),
        (torch.ones(2, 2, 2).double(), r"shape \(2, 2\) a sample"),
        (torch.ones(2, 2), "torch.float32 on cpu, its weights are torch.float64"),
    ],
)
def test_wrong_inputs_say_what_is_right(x, sentence):
    with pytest.raises(pmp.ProblemError, match=sentence):
        net_of(backend="fused")(x)


def test_a_field_of_another_shape_is_refused():
    class Wider(nn.Module):
        def forward(self, t, x):
            return torch.cat([x, x], 1)

    with pytest.raises(pmp.ProblemError, match=r"answers shape \(3, 4\) at t = 0 for a state of shape \(3, 2\)"):
        pmp.ODENet(Wider(), backend="torch")(states())


def test_a_field_that_fails_says_for_which_state():
    with pytest.raises(pmp.ProblemError, match=r"failed for a state of shape \(3, 2\)"):
        pmp.ODENet(_Broken(), backend="torch")(states())


class _Broken(nn.Module):
    def forward(self, t, x):
        return x @ torch.ones(3, 3, dtype=x.dtype)


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_nan_in_a_batch_names_the_sample(backend):
    x = states()
    x[1, 0] = float("nan")
    with pytest.raises(pmp.NonFiniteError, match="sample 1 of the batch is not finite before the net, at t = 0"):
        net_of(backend=backend)(x)


@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_a_state_that_grows_without_bound_names_sample_and_time(backend):
    field = nn.Sequential(nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        field[0].weight.fill_(1e80)
    x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    with pytest.raises(pmp.NonFiniteError, match=r"sample 1 is not finite at t = 0\.2, after step 1 of 5"):
        pmp.ODENet(field, steps=5, backend=backend)(x)
    with pytest.raises(pmp.NonFiniteError, match="sample 1 is not finite"):
        pmp.ODENet(field, steps=5, backend=backend).objective(x, x)


def test_weights_that_are_not_finite_are_named():
    net = net_of()
    with torch.no_grad():
        net.field[2].bias.fill_(float("inf"))
    with pytest.raises(pmp.NonFiniteError, match=r"weights 2\.bias are not finite"):
        net(states())


@pytest.mark.parametrize("loss", [lambda end: end, lambda end: 3.0])
def test_a_loss_of_the_wrong_shape_is_refused(loss):
    with pytest.raises(pmp.ProblemError, match="the loss answers"):
        net_of().trajectory(states(), loss)
    with pytest.raises(pmp.ProblemError, match="the loss answers"):
        net_of().objective(states(), states(), lambda end, target: loss(end))


def test_other_wrong_words_are_refused():
    net = net_of()
    with pytest.raises(pmp.ProblemError, match="loss 'mse' is not known"):
        net.objective(states(), states(), "mse")
    with pytest.raises(pmp.ProblemError, match="reduction 'max' is not known"):
        net.objective(states(), states(), reduction="max")
    with pytest.raises(pmp.ProblemError, match="the target is"):
        net.objective(states(), states()[:, :1])
    with pytest.raises(pmp.NotYetSupported, match="gradient='discrete'"):
        net_of(gradient="reversible").trajectory(states())
    with pytest.raises(pmp.ProblemError, match="running cost answers"):
        pmp.ODENet(perceptron(), running_cost=lambda t, x, w: x, backend="torch")(states())
    with pytest.raises(pmp.ProblemError, match="decay of a PathCost"):
        pmp.PathCost(decay=-1.0)
