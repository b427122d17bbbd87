"""Solutions that several tests look at."""

import pytest
import torch
from statements import regulator, transfer

from pontryagin.solve import solve


@pytest.fixture(scope="session")
def regulated():
    return solve(regulator(), steps=16)


@pytest.fixture(scope="session")
def batch_of_regulated():
    x0 = torch.tensor([[1.0], [2.0], [-1.0]], dtype=torch.float64)
    return solve(regulator(), steps=16, initial_state=x0)


@pytest.fixture(scope="session")
def transferred():
    return solve(transfer(), steps=8)
