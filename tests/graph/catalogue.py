"""Functions x (4,) -> scalar or vector for the tests of capture and of derivatives; finite on 0.2 < x < 0.9."""

import math

import torch

F = torch.nn.functional


def _in_place(x):
    dx = torch.zeros(4, dtype=x.dtype)
    dx[0] = x[1]
    dx[1:3] = x[2:] * x[:2]
    dx[3] += torch.sin(x[0])
    dx.mul_(2.0)
    return dx


def _matrix(x):
    return torch.outer(x[:3], x[1:]) + torch.diag(torch.tensor([3.0, 2.0, 4.0], dtype=x.dtype))


def _matrix4(x):
    return torch.outer(x, x.flip(0)) * torch.sin(x) + 2.0 * torch.eye(4, dtype=x.dtype)


def _einsum(x):
    a = torch.arange(16.0, dtype=x.dtype).reshape(4, 4)
    return torch.einsum("ij,j,i->i", a, x, x)


def _inner_gradient(x):
    return torch.func.grad(lambda y: (torch.sin(y) * y.flip(0)).sum() ** 2)(x)


def _scattered(x):
    index = torch.tensor([0, 2, 2, 1])
    return torch.zeros(3, dtype=x.dtype).scatter_add(0, index, x) ** 2


def _accumulated(x):
    y = torch.zeros(3, dtype=x.dtype)
    return y.index_put((torch.tensor([0, 1, 1]),), x[:3] ** 2, accumulate=True)


def _masked(x):
    return x[torch.tensor([True, False, True, True])].prod() + x.masked_fill(x > 0.5, 0.0).sum()


_CELL = torch.nn.GRUCell(4, 4, dtype=torch.float64).requires_grad_(False)


def _cell(x):
    return _CELL(x[None], x[None] ** 2)[0]


def _integers(x):
    return (x > 0.5).to(torch.int64).sum() * x[0]


A = torch.tensor([[1.0, 2.0, 0.0, -1.0], [0.5, 0.0, 1.0, 1.0]], dtype=torch.float64)

SMOOTH = {
    "neg": lambda x: -x,
    "abs": lambda x: (x - 0.5).abs(),
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "square": torch.square,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "asinh": torch.asinh,
    "acosh": lambda x: torch.acosh(1.5 + x),
    "atanh": torch.atanh,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "sigmoid": torch.sigmoid,
    "sinc": torch.sinc,
    "logit": torch.logit,
    "deg2rad": torch.deg2rad,
    "frac": lambda x: torch.frac(3 * x),
    "add_alpha": lambda x: torch.add(x, x.flip(0), alpha=3) - torch.sub(1.0, x, alpha=2),
    "rsub": lambda x: 3.0 - x + torch.rsub(x, 2.0),
    "div": lambda x: x / x.flip(0) + 1.0 / x + x / 3.0,
    "div_modes": lambda x: torch.div(x, 0.3, rounding_mode="floor") + torch.div(x, 0.3, rounding_mode="trunc") * x,
    "fmod": lambda x: torch.fmod(-2 * x, 0.3),
    "remainder": lambda x: (-2 * x) % 0.3,
    "remainder_tensor": lambda x: torch.remainder(5 * x, x.flip(0)),
    "rounding": lambda x: torch.floor(5 * x) * x + torch.ceil(5 * x) - torch.round(5 * x) * torch.trunc(5 * x),
    "round_decimals": lambda x: torch.round(x, decimals=1) * x,
    "pow_2": lambda x: x**2,
    "pow_3": lambda x: x**3,
    "pow_7": lambda x: x**7,
    "pow_-2": lambda x: x**-2,
    "pow_0.5": lambda x: x**0.5,
    "pow_-0.5": lambda x: x**-0.5,
    "pow_1.7": lambda x: x**1.7,
    "pow_scalar_base": lambda x: 2.5**x,
    "pow_tensor": lambda x: x ** x.flip(0),
    "atan2": lambda x: torch.atan2(x, x.flip(0) - 0.5),
    "hypot": lambda x: torch.hypot(x, x.flip(0)),
    "copysign": lambda x: torch.copysign(x, x.flip(0) - 0.5),
    "logaddexp": lambda x: torch.logaddexp(x, x.flip(0)),
    "xlogy": lambda x: torch.xlogy(x, x.flip(0)),
    "lerp": lambda x: torch.lerp(x, x.flip(0), x[0]),
    "addcmul": lambda x: torch.addcmul(x, x, x.flip(0), value=2) + torch.addcdiv(x, x, x.flip(0), value=0.5),
    "maximum": lambda x: torch.maximum(x, x.flip(0)) + torch.minimum(x**2, x.flip(0)),
    "fmax": lambda x: torch.fmax(x, x.flip(0)) * torch.fmin(x, x.flip(0)),
    "clamp": lambda x: torch.clamp(x, 0.4, 0.6) + x.clamp(min=0.5) * x.clamp(max=0.5),
    "clamp_tensor": lambda x: torch.clamp(x, x.flip(0), x.flip(0) + 0.1) + torch.clamp_min(x, x[0]),
    "where": lambda x: torch.where(x > 0.5, x**2, torch.sin(x)) + torch.where(x > x[0], 1.0, x),
    "comparisons": lambda x: (x > 0.5) * x + (x >= 0.3) * x**2 + (x < x[0]) + (x <= x[1]) * x + (x == x) + (x != x[0]),
    "logic": lambda x: ((x > 0.3) & (x < 0.6) | ~(x > x[0])).double() * x + torch.logical_xor(x > 0.3, x > 0.5) * x**2,
    "sign": lambda x: torch.sign(x - 0.5) * x + torch.sgn(x - 0.4),
    "integers": _integers,
    "relu": lambda x: F.relu(x - 0.5) + F.leaky_relu(x - 0.5) + F.relu6(10 * x),
    "elu": lambda x: F.elu(x - 0.5) + F.selu(x - 0.5),
    "gelu": lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"),
    "silu": lambda x: F.silu(x) + F.mish(x) + F.hardswish(8 * x - 4) + F.softsign(x),
    "softplus": lambda x: F.softplus(x) + F.softplus(x, beta=30.0, threshold=15.0) + F.logsigmoid(x),
    "hardtanh": lambda x: F.hardtanh(4 * x - 2) + F.threshold(x, 0.5, 0.1) + F.hardshrink(x - 0.5) * 0.0,
    "losses": lambda x: F.mse_loss(x, x.flip(0) ** 2) + F.smooth_l1_loss(x, 3 * x.flip(0)) + F.huber_loss(x, 0 * x),
    "sum": lambda x: x.sum() * x.mean() + torch.stack([x, x**2]).sum(0).mean(),
    "sum_dims": lambda x: torch.outer(x, x**2).reshape(2, 2, 4).sum((0, 2), keepdim=True).mean(1).flatten(),
    "prod": lambda x: x.prod() + torch.outer(x, x).prod(1).sum(),
    "amax": lambda x: x.amax() * x.amin() + torch.outer(x, x).amax(1).sum(),
    "max": lambda x: x.max() * x.min() + torch.outer(x, x).max(1).values.sum() + torch.outer(x, x).min(0)[0][1],
    "cumsum": lambda x: torch.cumsum(x**2, 0) * torch.cumprod(x, 0),
    "norm": lambda x: x.norm() + torch.linalg.norm(x, ord=1) * torch.linalg.vector_norm(x, 3) + x.norm(p=float("inf")),
    "norm_matrix": lambda x: torch.linalg.norm(_matrix(x)) + _matrix(x).norm(dim=1).sum() + torch.linalg.norm(x, 4.5),
    "var": lambda x: x.var() + x.std() + x.var(unbiased=False),
    "logsumexp": lambda x: torch.logsumexp(x, 0) + x.softmax(0).prod() + x.log_softmax(0)[1],
    "normalize": lambda x: F.normalize(x, dim=0),
    "cosine": lambda x: F.cosine_similarity(x, x.flip(0) ** 2, dim=0),
    "dot": lambda x: torch.dot(x, x.flip(0)) + x @ x + torch.inner(x, x),
    "matmul": lambda x: A @ x + (A * x) @ x + torch.mv(A, x) + torch.addmv(x[:2], A, x, beta=2, alpha=3),
    "matrices": lambda x: _matrix(x) @ _matrix(x).T @ x[:3] + torch.addmm(_matrix(x), _matrix(x), _matrix(x))[0],
    "bmm": lambda x: torch.bmm(_matrix(x).expand(2, 3, 3), _matrix(x).expand(2, 3, 3)).sum((0, 1)),
    "einsum": _einsum,
    "tensordot": lambda x: torch.tensordot(_matrix(x), _matrix(x), dims=2) + torch.trace(_matrix(x)),
    "cross": lambda x: torch.linalg.cross(x[:3], x[1:]) + torch.cross(x[1:], x[:3] ** 2, dim=0),
    "kron": lambda x: torch.kron(x[:2], x[2:]),
    "bilinear": lambda x: x @ torch.outer(x, x) @ x,
    "det": lambda x: torch.linalg.det(_matrix(x)),
    "inverse": lambda x: torch.linalg.inv(_matrix(x)).flatten(),
    "inverse_4": lambda x: torch.inverse(_matrix4(x)) @ x,
    "solve": lambda x: torch.linalg.solve(_matrix(x), x[:3]) + torch.linalg.solve(_matrix(x), _matrix(x).T)[0],
    "cholesky": lambda x: torch.linalg.cholesky(_matrix(x) @ _matrix(x).T).flatten(),
    "cat": lambda x: torch.cat([x[:2] ** 2, x[3:], torch.ones(1, dtype=x.dtype), torch.zeros(1)]),
    "stack": lambda x: torch.stack([x, x.flip(0)], dim=1).reshape(-1)[::2],
    "hstack": lambda x: torch.hstack([x[:1], x[2:]]) * torch.vstack([x[:3], x[1:]])[1],
    "views": lambda x: x.view(2, 2).T.reshape(4) * x.unsqueeze(0).squeeze(0) * x.unflatten(0, (2, 2)).flatten(),
    "unbind": lambda x: torch.stack([a * b for a, b in zip(x.unbind(), x.split(1), strict=True)]).sum(),
    "chunk": lambda x: x.chunk(2)[0] * x.tensor_split(2)[1] + x.narrow(0, 1, 2),
    "expand": lambda x: x[0].expand(4) * x.expand(3, 4).sum(0) + x.repeat(2)[3:7] + x.repeat_interleave(2)[:4],
    "roll": lambda x: torch.roll(x, 1) * x + torch.diff(x, append=x[:1]) + torch.trapezoid(x),
    "index": lambda x: x[[0, 2, 1]] * x[torch.tensor([3, 1, 0])] + x.index_select(0, torch.tensor([0, 0, 1])),
    "gather": lambda x: torch.gather(x, 0, torch.tensor([3, 0])) + x[-1],
    "triangles": lambda x: torch.triu(torch.outer(x, x)).sum(0) + torch.tril(torch.outer(x, x), -1).sum(1),
    "diag": lambda x: torch.diag(torch.diag(x) @ torch.outer(x, x)) + torch.diag_embed(x).diagonal(),
    "pad": lambda x: F.pad(x, (1, 2)) + F.pad(x, (0, 3), value=2.0) * F.pad(x, (3, 0)),
    "meshgrid": lambda x: (lambda a, b: (a * b).flatten())(*torch.meshgrid(x[:2], x[2:], indexing="ij")),
    "masked": _masked,
    "scattered": _scattered,
    "accumulated": _accumulated,
    "in_place": _in_place,
    "out_of_constants": lambda x: torch.linspace(0, 1, 4, dtype=x.dtype) * x + torch.arange(4, dtype=x.dtype) * math.pi,
    "like": lambda x: torch.zeros_like(x) + torch.ones_like(x) * x + x.new_full((4,), 2.0) + torch.full((4,), 1.0),
    "isnan": lambda x: torch.where(torch.isnan(x) | torch.isinf(x) | ~torch.isfinite(x), 0.0, x),
    "any": lambda x: (x > 0.5).any() * x + (x > 0.1).all() * x**2 + torch.any(x > 3),
    "vmap": lambda x: torch.func.vmap(lambda a: torch.sin(a) * x[0])(x),
    "inner_gradient": _inner_gradient,
    "inner_jacobian": lambda x: torch.func.jacrev(lambda y: torch.sin(y) * y[0])(x) @ x,
    "casts": lambda x: (3 * x).long() * x + x.to(torch.float64) + (x > 0.5).type_as(x),
    "taken_apart": lambda x: F.layer_norm(x, (4,)) + F.prelu(x - 0.5, x[:1]) + torch.dist(x, 2 * x) + F.glu(x, 0)[0],
    "gru": _cell,
    "polynomial": lambda x: 3 * x[0] ** 4 - 2 * x[0] ** 2 * x[1] + x[2] * (x[0] + x[1]) ** 3 / (1 + x[3] ** 2),
    "rotation": lambda x: (
        torch.stack([torch.stack([x[0].cos(), -x[0].sin()]), torch.stack([x[0].sin(), x[0].cos()])]) @ x[1:3]
    ),
}

#: Functions whose derivative torch lacks, or has with coefficients in single precision only (celu, hardsigmoid).
VALUES = {
    "floor_divide": lambda x: (x // 0.3) * x,
    "heaviside": lambda x: torch.heaviside(x - 0.5, x),
    "take": lambda x: torch.take(x, torch.tensor([1, 2])),
    "ldexp": lambda x: torch.ldexp(x, torch.tensor([1, 2, 3, 4])),
    "celu": lambda x: F.celu(x - 0.5, 0.7),
    "hardsigmoid": lambda x: F.hardsigmoid(8 * x - 4),
    "det_4": lambda x: torch.det(_matrix4(x)),
}
