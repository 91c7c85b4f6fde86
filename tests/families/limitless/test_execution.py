"""Networks run together give what each gives alone, gradients included."""

import numpy as np
import pytest
import torch

from mtl_gym.families.limitless import execution
from mtl_gym.families.limitless.construction import Construction, random_routes
from mtl_gym.families.limitless.modules import paper_pool


def networks_of(pool, max_depth, count):
    routes = random_routes(pool.layout, max_depth, count, np.random.default_rng(0))
    building, rows = Construction(pool.layout, count, max_depth), np.arange(count)
    for depth in range(max_depth):
        rows = rows[~building.choose(rows, routes[rows, depth])]
    return building.networks.modules


def alone(pool, x, network):
    for module in network[network >= 0]:
        x = pool[int(module)](x)
    return x


@pytest.mark.parametrize(("duplicates", "max_depth"), [(1, 2), (2, 4), (4, 6)])
def test_batch_equals_networks_run_one_by_one(duplicates, max_depth):
    torch.manual_seed(0)
    pool = paper_pool((3, 6, 6), classes=4, duplicates=duplicates, filters=4, hidden=8)
    networks = networks_of(pool, max_depth, 40)
    x, label = torch.randn(40, 3, 6, 6), torch.randint(4, (40,))
    together = execution.run(pool, x, networks)
    one_by_one = torch.cat([alone(pool, x[row : row + 1], network) for row, network in enumerate(networks)])
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=1e-5)
    gradients = []
    for logits in (together, one_by_one):
        pool.zero_grad()
        torch.nn.functional.cross_entropy(logits, label).backward()
        gradients.append([None if p.grad is None else p.grad.clone() for p in pool.parameters()])
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_modules_outside_all_networks_are_not_run():
    pool = paper_pool((1, 4, 4), classes=2, duplicates=2, filters=2, hidden=4)
    execution.run(pool, torch.randn(3, 1, 4, 4), np.array([[0, 4, -1], [0, 2, 5], [0, 1, 4]])).sum().backward()
    touched = {number for number in range(len(pool)) if all(p.grad is not None for p in pool[number].parameters())}
    assert touched == {0, 1, 2, 4, 5}
    assert all(p.grad is None for n in {*range(12)} - touched for p in pool[n].parameters())
