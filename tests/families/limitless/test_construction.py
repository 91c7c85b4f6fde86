"""Valid choices of constructions: for any pool, every valid walk ends in a head."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl_gym.families.limitless.construction import Construction, random_routes
from mtl_gym.families.limitless.modules import paper_pool
from mtl_gym.families.limitless.pool import FAR, ModulePool, PoolLayout, PoolModule

P, N, C, F, G, H, E = "PASS", "input conv", "conv", "fc from conv", "fc", "head", "head from conv"


@st.composite
def layouts(draw):
    """Draw random layouts: kinds of (takes, gives) with several modules each and possible dead ends."""
    shapes = draw(st.integers(1, 4))
    pair = st.tuples(st.integers(0, shapes - 1), st.integers(-1, shapes - 1))
    kinds = draw(st.lists(pair, min_size=1, max_size=7, unique=True))
    kind = np.array(draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=12)))
    takes_and_gives = np.array(kinds)
    return PoolLayout(kind, takes_and_gives[:, 0], takes_and_gives[:, 1], shapes)


def alive(layout):
    """Return the layout without kinds that have no module."""
    there = np.unique(layout.kind)
    return PoolLayout(np.searchsorted(there, layout.kind), layout.takes[there], layout.gives[there], layout.shapes)


@given(layouts().map(alive), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_every_valid_walk_ends_in_a_head_within_max_depth(layout, spare, seed):
    if layout.whole[0] >= FAR:
        return
    max_depth = int(layout.whole[0]) + spare
    building, rng = Construction(layout, 8, max_depth), np.random.default_rng(seed)
    rows = np.arange(8)
    for depth in range(max_depth):
        masks = building.masks()[rows]
        assert masks.any(1).all()
        choices = np.where(masks, rng.random(masks.shape), -1).argmax(1)
        assert depth or not (choices == len(layout.kind)).any()
        rows = rows[~building.choose(rows, choices)]
    assert len(rows) == 0
    for network, length in zip(building.networks.modules, building.networks.length, strict=True):
        chosen = network[:length]
        assert len(set(chosen)) == length >= layout.whole[0] and (network[length:] == -1).all()
        takes, gives = layout.takes[layout.kind[chosen]], layout.gives[layout.kind[chosen]]
        assert takes[0] == 0 and gives[-1] == -1 and (takes[1:] == gives[:-1]).all()


def reaches_head(layout, shape, unused, left):
    """Return whether unused modules lead from a shape to a head, by exhaustive search."""
    for module in unused:
        kind = layout.kind[module]
        if layout.takes[kind] == shape and left:
            gives = layout.gives[kind]
            if gives < 0 or reaches_head(layout, gives, unused - {module}, left - 1):
                return True
    return False


@given(layouts().map(alive), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_masks_allow_every_choice_that_reaches_a_head(layout, spare, seed):
    if len(layout.kind) > 7 or layout.whole[0] >= FAR:
        return
    max_depth = int(layout.whole[0]) + spare
    building, rng = Construction(layout, 1, max_depth), np.random.default_rng(seed)
    shape, unused, row = 0, set(range(len(layout.kind))), np.array([0])
    for depth in range(max_depth):
        left = max_depth - depth - 1
        mask = building.masks()[0]
        for module in range(len(layout.kind)):
            kind = layout.kind[module]
            fits = module in unused and layout.takes[kind] == shape
            ends = layout.gives[kind] < 0 or reaches_head(layout, layout.gives[kind], unused - {module}, left)
            assert mask[module] == (fits and ends)
        assert mask[-1] == (len(unused) < len(layout.kind) and reaches_head(layout, shape, unused, left))
        choice = rng.choice(np.flatnonzero(mask))
        if choice < len(layout.kind):
            unused -= {choice}
            shape = layout.gives[layout.kind[choice]]
        if building.choose(row, np.array([choice]))[0]:
            break


def valid_names(building, names):
    return [set(np.array([*names, P])[mask]) for mask in building.masks()]


def test_default_pool_has_hand_computed_masks():
    """Check two duplicates and at most four decisions, with one row per network below."""
    pool = paper_pool((1, 8, 8), classes=2, duplicates=2, filters=2, hidden=4)
    names = [name.rsplit(" ", 1)[0] for name in pool.names]
    building = Construction(pool.layout, 4, max_depth=4)
    assert valid_names(building, names) == [{N}] * 4
    rows = np.arange(4)
    building.choose(rows, np.array([0, 0, 6, 0]))  # input conv
    # Three decisions are left: another conv, an fc, a head or PASS.
    assert valid_names(building, names) == [{C, F, E, P}] * 4
    assert building.masks().sum(1).tolist() == [7] * 4  # two copies of each, and PASS
    building.choose(rows, np.array([1, 2, 12, 4]))  # conv 0; fc from conv 0; PASS; head from conv 0
    assert valid_names(building, names) == [{C, F, E, P}, {G, H, P}, {C, F, E, P}, set()]
    assert np.flatnonzero(building.masks()[0]).tolist() == [2, 4, 7, 8, 10, 12]  # not conv 0 again
    assert building.masks()[1, 3] and building.masks()[1, 9]  # both fc are unused
    rows = np.array([0, 1, 2])
    building.choose(rows, np.array([7, 3, 2]))  # conv 1; fc 0; fc from conv 0
    # One decision is left: only heads, and no PASS.
    assert valid_names(building, names) == [{E}, {H}, {H}, set()]
    assert building.choose(rows, np.array([4, 5, 11])).all()
    assert building.networks.modules.tolist() == [[0, 1, 7, 4], [0, 2, 3, 5], [6, 2, 11, -1], [0, 4, -1, -1]]


def test_at_least_depth_only_shortest_networks_are_valid():
    pool = paper_pool((1, 8, 8), classes=2, duplicates=3, filters=2, hidden=4)
    building = Construction(pool.layout, 1, max_depth=pool.least_depth)
    building.choose(np.array([0]), np.array([0]))
    assert np.flatnonzero(building.masks()[0]).tolist() == [4, 10, 16]  # heads from conv; neither fc nor PASS


def test_max_depth_below_shortest_network_is_refused():
    layout = paper_pool((1, 8, 8), classes=2, duplicates=1, filters=2, hidden=4).layout
    with pytest.raises(ValueError, match=r"max_depth=1 .*2 modules"):
        Construction(layout, 1, max_depth=1)


def test_random_routes_build_valid_networks_padded_with_pass():
    layout = paper_pool((1, 8, 8), classes=2, duplicates=2, filters=2, hidden=4).layout
    routes = random_routes(layout, 4, 50, np.random.default_rng(0))
    building = Construction(layout, 50, 4)
    rows = np.arange(50)
    for depth in range(4):
        assert building.masks()[rows, routes[rows, depth]].all()
        rows = rows[~building.choose(rows, routes[rows, depth])]
    assert len(rows) == 0
    assert (routes[building.networks.depth < 4, 3] == 12).all()
    assert len(np.unique(routes, axis=0)) > 20


def test_declared_shapes_of_a_module_are_checked():
    with pytest.raises(ValueError, match=r"\(9,\).* \(8,\)"):
        PoolModule(nn.Linear(4, 8), (4,), (9,))
    with pytest.raises(ValueError, match=r"does not take inputs of shape \(5,\)"):
        PoolModule(nn.Linear(4, 8), (5,))
    with pytest.raises(ValueError, match=r"head.* logits .*\(2, 4, 4\)"):
        PoolModule(nn.Conv2d(1, 2, 3, padding=1), (1, 4, 4), head=True)


def test_pool_without_reachable_head_is_refused():
    with pytest.raises(ValueError, match=r"No head .*\(4,\)"):
        ModulePool([PoolModule(nn.Linear(4, 8), (4,)), PoolModule(nn.Linear(9, 2), (9,), head=True)], (4,))
    with pytest.raises(ValueError, match=r"classes=\[\]"):
        ModulePool([PoolModule(nn.Linear(4, 8), (4,))], (4,))


def test_larger_pool_begins_with_modules_of_smaller_pool():
    small, large = (paper_pool((1, 8, 8), 2, duplicates, 2, 4) for duplicates in (2, 3))
    assert large.names[: len(small)] == small.names
    np.testing.assert_array_equal(large.layout.kind[: len(small)], small.layout.kind)
