import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap

from mtl_gym.families.scheduling import crf

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**16))


def drawn(rows, steps, tags, seed, scale=2.0):
    """Draw random emissions, transitions, tags and mask, in float64."""
    generator = torch.Generator().manual_seed(seed)
    emissions = torch.randn(rows, steps, tags, generator=generator, dtype=torch.float64) * scale
    transitions = torch.randn(rows, tags + 1, tags, generator=generator, dtype=torch.float64) * scale
    labels = torch.randint(tags, (rows, steps), generator=generator)
    lengths = torch.randint(1, steps + 1, (rows, 1), generator=generator)
    return emissions, transitions, labels, torch.arange(steps) < lengths


def paths_of(emissions, transitions, mask):
    """Return every tag sequence of one row with its score, summed in a loop."""
    length, tags = int(mask.sum()), emissions.shape[-1]
    scores = {}
    for path in itertools.product(range(tags), repeat=length):
        score = float(transitions[tags, path[0]]) + sum(float(emissions[t, tag]) for t, tag in enumerate(path))
        score += sum(float(transitions[i, j]) for i, j in itertools.pairwise(path))
        scores[path] = score
    return scores


@given(sizes)
@settings(deadline=None)
def test_log_partition_is_the_sum_over_all_paths(size):
    emissions, transitions, _, mask = drawn(*size)
    found = crf.log_partition(emissions, transitions, mask)
    for row in range(size[0]):
        total = sum(math.exp(score) for score in paths_of(emissions[row], transitions[row], mask[row]).values())
        assert found[row].exp().item() == pytest.approx(total)


@given(sizes)
@settings(deadline=None)
def test_the_likelihoods_of_all_paths_sum_to_one(size):
    emissions, transitions, _, mask = drawn(*size)
    for row in range(size[0]):
        paths = list(paths_of(emissions[row], transitions[row], mask[row]))
        tags = torch.nn.functional.pad(torch.tensor(paths), (0, size[1] - len(paths[0])), value=-1)
        many = [part[row].expand(len(paths), *part[row].shape) for part in (emissions, transitions, mask)]
        assert crf.log_likelihood(*many[:2], tags, many[2]).exp().sum().item() == pytest.approx(1)


@given(sizes)
@settings(deadline=None)
def test_viterbi_finds_the_best_of_all_paths(size):
    emissions, transitions, _, mask = drawn(*size)
    found = crf.viterbi(emissions, transitions, mask)
    for row in range(size[0]):
        scores = paths_of(emissions[row], transitions[row], mask[row])
        best = max(scores, key=scores.__getitem__)
        assert found[row].tolist() == [*best, *[-1] * (size[1] - len(best))]


@given(sizes)
@settings(deadline=None)
def test_marginals_are_the_shares_of_paths_through_a_tag(size):
    emissions, transitions, _, mask = drawn(*size)
    found = crf.marginals(emissions, transitions, mask)
    for row in range(size[0]):
        scores = paths_of(emissions[row], transitions[row], mask[row])
        total = sum(math.exp(score) for score in scores.values())
        for step, tag in itertools.product(range(size[1]), range(size[2])):
            through = sum(math.exp(score) for path, score in scores.items() if step < len(path) and path[step] == tag)
            assert found[row, step, tag].item() == pytest.approx(through / total)


@given(sizes)
@settings(deadline=None)
def test_marginals_are_the_gradient_of_the_log_partition(size):
    emissions, transitions, _, mask = drawn(*size)
    emissions.requires_grad_()
    crf.log_partition(emissions, transitions, mask).sum().backward()
    torch.testing.assert_close(emissions.grad, crf.marginals(emissions.detach(), transitions, mask))


def test_gradients_match_finite_differences():
    emissions, transitions, tags, mask = drawn(3, 4, 3, seed=0)
    scores = emissions.requires_grad_(), transitions.requires_grad_()
    assert torch.autograd.gradcheck(lambda *scores: crf.log_likelihood(*scores, tags, mask), scores)


@pytest.mark.parametrize("function", [crf.log_likelihood, crf.log_partition, crf.viterbi, crf.marginals])
class TestEveryFunction:
    def arguments(self, function, *size):
        emissions, transitions, tags, mask = drawn(*size)
        return (
            (emissions, transitions, tags, mask) if function is crf.log_likelihood else (emissions, transitions, mask)
        )

    def test_a_row_is_independent_of_the_rest_of_its_batch(self, function):
        arguments = self.arguments(function, 6, 7, 4, 1)
        whole = function(*arguments)
        for row in range(6):
            torch.testing.assert_close(function(*(part[row : row + 1] for part in arguments))[0], whole[row])

    def test_longer_padding_changes_nothing(self, function):
        arguments = self.arguments(function, 6, 7, 4, 2)
        padded = [part if part is arguments[1] else self.with_noise_behind(part) for part in arguments]
        found = function(*padded)
        expected = function(*arguments)
        torch.testing.assert_close(found if found.ndim == 1 else found[:, :7], expected)
        assert found.ndim == 1 or (found[:, 7:] == (-1 if function is crf.viterbi else 0)).all()

    def with_noise_behind(self, part):
        behind = torch.zeros_like(part[:, :3]) if part.dtype == torch.bool else torch.full_like(part[:, :3], 3)
        return torch.cat([part, behind], 1)

    def test_it_runs_under_vmap(self, function):
        runs = [self.arguments(function, 5, 6, 3, seed) for seed in range(4)]
        stacked = [torch.stack(parts) for parts in zip(*runs, strict=True)]
        found = vmap(function)(*stacked)
        torch.testing.assert_close(found, torch.stack([function(*arguments) for arguments in runs]))

    def test_rows_of_a_group_share_transitions(self, function):
        emissions, transitions, *rest = self.arguments(function, 6, 5, 3, 4)
        shared = transitions[:2]
        each = shared.repeat_interleave(3, 0)
        torch.testing.assert_close(function(emissions, shared, *rest), function(emissions, each, *rest))

    def test_emissions_of_minus_infinity_exclude_tags_outside_a_task(self, function):
        emissions, *rest = self.arguments(function, 4, 5, 3, 3)
        more = torch.nn.functional.pad(emissions, (0, 2), value=-torch.inf)
        transitions = torch.randn(4, 6, 5, dtype=torch.float64)
        transitions[:, :3, :3], transitions[:, 5, :3] = rest[0][:, :3], rest[0][:, 3]
        more.requires_grad_()
        found = function(more, transitions, *rest[1:])
        expected = function(emissions, *rest)
        torch.testing.assert_close(found[..., :3] if found.ndim == 3 else found, expected)
        if found.requires_grad:
            found.sum().backward()
            assert torch.isfinite(more.grad).all()


def test_gradients_of_shared_transitions_are_sums_over_the_rows_of_a_group():
    emissions, transitions, tags, mask = drawn(6, 4, 3, seed=0)
    shared = transitions[:2].requires_grad_()
    assert torch.autograd.gradcheck(lambda shared: crf.log_likelihood(emissions, shared, tags, mask), shared)


def test_gradients_of_several_losses_can_be_computed_at_once():
    emissions, transitions, tags, mask = drawn(3, 4, 3, seed=0)
    scores = emissions.requires_grad_(), transitions.requires_grad_()
    losses = crf.log_likelihood(*scores, tags, mask)
    together = torch.autograd.grad(losses, scores, torch.eye(3).double(), retain_graph=True, is_grads_batched=True)
    for row in range(3):
        alone = torch.autograd.grad(losses[row], scores, retain_graph=True)
        torch.testing.assert_close([part[row] for part in together], list(alone))


def test_second_derivatives_are_refused():
    emissions, transitions, tags, mask = drawn(3, 4, 3, seed=0)

    def slope(emissions):
        return grad(lambda part: crf.log_likelihood(part, transitions, tags, mask).sum())(emissions).square().sum()

    with pytest.raises(NotImplementedError, match="first derivatives only"):
        grad(slope)(emissions)


def test_impossible_transitions_have_probability_0_and_finite_gradients():
    emissions, transitions, _, _ = drawn(1, 4, 3, seed=0)
    transitions[0, 1, 2] = -torch.inf
    mask = torch.ones(1, 4, dtype=torch.bool)
    total = sum(math.exp(score) for score in paths_of(emissions[0], transitions[0], mask[0]).values())
    found = crf.log_partition(emissions, transitions.requires_grad_(), mask)
    assert found.exp().item() == pytest.approx(total)
    found.sum().backward()
    assert transitions.grad.isfinite().all() and transitions.grad[0, 1, 2] == 0


def test_gradients_run_under_vmap():
    runs = [drawn(3, 4, 3, seed) for seed in range(3)]
    stacked = [torch.stack(parts) for parts in zip(*runs, strict=True)]

    def loss(emissions, transitions, tags, mask):
        return crf.log_likelihood(emissions, transitions, tags, mask).mean()

    found = vmap(torch.func.grad(loss, argnums=(0, 1)))(*stacked)
    for run, arguments in enumerate(runs):
        alone = torch.func.grad(loss, argnums=(0, 1))(*arguments)
        torch.testing.assert_close([part[run] for part in found], list(alone))


def test_scores_of_thousands_do_not_overflow():
    emissions, transitions, tags, mask = (part[:, :50] for part in drawn(2, 50, 3, seed=0, scale=1000.0))
    assert torch.isfinite(crf.log_likelihood(emissions.float(), transitions.float(), tags, mask)).all()
