"""How the sweep of a perceptron is cut for a GPU: samples a tile, threads a block, and what lies in shared memory.

None of the choices here was measured on a GPU; each says what it is meant for.
"""

from __future__ import annotations

from pontryagin.codegen.cuda_mlp import Blocks
from pontryagin.errors import BackendError
from pontryagin.mlp import MLP

#: Samples of a tile, in order of preference: many share each weight that is read.
LANES = (32, 16, 8)

#: Threads of a block: eight warps.
MOST_THREADS = 256

#: Activations whose slope follows from the output, which is kept for it, and those that need nothing kept.
FROM_OUTPUT, NOTHING = ("tanh", "relu"), ("identity",)

#: Stages of a tableau that the table of a step has room for.
MAX_STAGES = 7


def record_rows(mlp: MLP, velocity_kept: bool) -> int:
    """Rows kept of a stage, as `arrange` of csrc/include/pontryagin/mlp.hpp counts them."""
    rows = mlp.dim
    for layer, (width, activation) in enumerate(zip(mlp.widths[1:], mlp.activations, strict=True)):
        last = layer + 1 == mlp.layers
        rows += width * (not last or velocity_kept or activation in FROM_OUTPUT)
        rows += width * (activation not in (*FROM_OUTPUT, *NOTHING))
    return rows


def row_width(lanes: int) -> int:
    """Numbers from one row of a tile to the next."""
    return lanes + 4 if lanes % 8 == 0 else lanes


def block_bytes(mlp: MLP, blocks: Blocks, stages: int, *, single: bool, velocity_kept: bool) -> int:
    """Shared memory of a block, as `block_bytes` of csrc/include/pontryagin/device_mlp.hpp counts it."""
    size = 4 if single else 8
    numbers = (MAX_STAGES + 2) * MAX_STAGES + 1 + blocks.lanes * 8 // size
    rows = 3 * mlp.dim + 2 + stages * mlp.dim + record_rows(mlp, velocity_kept)
    numbers += rows * row_width(blocks.lanes) + (blocks.panel or _near(mlp))
    numbers += _rounded(mlp.parameter_count) * blocks.near_sums
    return numbers * size


def blocks_for(
    mlp: MLP, stages: int, batch: int, processors: int, limit: int, *, single: bool, velocity_kept: bool
) -> Blocks:
    """The first cut that fits into `limit` bytes of shared memory.

    Tiles are as large as leaves three quarters of the multiprocessors with eight warps, where the batch allows. Weights
    are kept whole before the sums over samples are, and smaller tiles come before weights in panels. Raises
    BackendError where nothing fits.
    """
    needed = 3 * processors * MOST_THREADS // (4 * _threads(mlp))
    enough = [lanes for lanes in LANES if -(-batch // lanes) >= needed]
    candidates = LANES[LANES.index((enough or LANES[-1:])[0]) :]

    def cut(lanes: int, panel: int, near_sums: bool) -> Blocks:
        return Blocks(lanes, _threads(mlp), panel, near_sums)

    def bytes_of(blocks: Blocks) -> int:
        return block_bytes(mlp, blocks, stages, single=single, velocity_kept=velocity_kept)

    for lanes in candidates:
        for near_sums in (True, False):
            blocks = cut(lanes, 0, near_sums)
            if bytes_of(blocks) <= limit:
                return blocks
    least = max(max(_rounded(columns), 4 * out) for out, columns in _matrices(mlp))
    for lanes in candidates:
        left = limit - bytes_of(cut(lanes, 4, False))  # beside a panel of four numbers
        panel = 4 + left // (4 if single else 8) // 4 * 4
        if left >= 0 and panel >= least:
            return cut(lanes, panel, False)
    raise BackendError(
        f"a net with a layer of {max(mlp.widths)} units needs more than the {limit} bytes of shared memory that a "
        'block has on this device; take backend="torch"'
    )


def _matrices(mlp: MLP) -> list[tuple[int, int]]:
    return [(shape[0], shape[1]) for shape in mlp.shapes if len(shape) == 2]


def _near(mlp: MLP) -> int:
    """Numbers of all parameters, rows rounded up to multiples of four."""
    matrices = sum(out * _rounded(columns) for out, columns in _matrices(mlp))
    return matrices + sum(_rounded(shape[0]) for shape in mlp.shapes if len(shape) == 1)


def _rounded(size: int) -> int:
    return -(-size // 4) * 4


def _threads(mlp: MLP) -> int:
    """Two for each unit of the widest layer, from two warps to eight."""
    return next((threads for threads in (64, 128) if 2 * max(mlp.widths) <= threads), MOST_THREADS)
