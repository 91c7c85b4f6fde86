import copy

import numpy as np
import pytest
import torch

from mtl_gym.core.nn.adam import MaskedAdam, consecutive
from mtl_gym.core.nn.fused_adam import FusedAdam


def parameter(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def step(optimizer, *gradients):
    for p, gradient in zip(optimizer.param_groups[0]["params"], gradients, strict=True):
        p.grad = gradient
    optimizer.step()


def copies(optimizer, p):
    return [p.detach().clone(), *(value.clone() for value in optimizer.state[p].values())]


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
def test_it_is_adam_where_all_slices_take_part(axes):
    torch.manual_seed(0)
    mine, theirs = parameter(3, 4, 2), parameter(3, 4, 2)
    first, second = MaskedAdam([mine], lr=0.01, axes=axes), torch.optim.Adam([theirs], lr=0.01, fused=True)
    for _ in range(5):
        gradient = torch.randn(3, 4, 2)
        step(first, gradient), step(second, gradient.clone())
    tolerance = {"atol": 1e-6, "rtol": 1e-5} if axes else {"atol": 0, "rtol": 0}
    torch.testing.assert_close(mine, theirs, **tolerance)


def test_slices_without_a_gradient_stay_as_they_are():
    weight = parameter(2, 3)
    optimizer = MaskedAdam([weight], lr=0.1)
    step(optimizer, torch.ones(2, 3))
    before = copies(optimizer, weight)
    step(optimizer, torch.tensor([[0.0] * 3, [1.0] * 3]))
    for old, new in zip(before, copies(optimizer, weight), strict=True):
        assert torch.equal(old[0], new[0]) and not torch.equal(old[1], new[1])


@pytest.mark.parametrize("axes", [0, 2])
def test_slices_outside_of_a_mask_stay_as_they_are(axes):
    weight, other = parameter(2, 2, 3), parameter(2)
    optimizer = MaskedAdam([{"params": [weight], "axes": axes}, {"params": [other], "axes": 0}], lr=0.1)
    mask = torch.tensor([[True, False], [False, True]])
    for gradient in torch.randn(2, 2, 2, 3), torch.randn(2, 2, 2, 3):
        weight.grad, other.grad = gradient[0], gradient[1, 0, 0, :2]
        before, unmasked = copies(optimizer, weight) if optimizer.state else [weight.detach().clone()], other.clone()
        with optimizer.masked({weight: mask}):
            optimizer.step()
        for old, new in zip(before, copies(optimizer, weight), strict=False):
            if old.ndim:  # a step count for all slices goes on
                assert torch.equal(old[~mask], new[~mask]) and not torch.equal(old[mask], new[mask])
        assert not torch.equal(other, unmasked)


@pytest.mark.parametrize("places", [[1, 2], [0, 3]])
def test_steps_of_some_slices_equal_masked_steps_to_the_bit(places):
    mine, theirs = (parameter(2, 2, 3) for _ in range(2))
    first, second = (MaskedAdam([weight], lr=0.1, axes=2) for weight in (mine, theirs))
    mask, place = torch.zeros(4, dtype=torch.bool), consecutive(np.array(places))
    mask[places] = True
    for gradient in torch.randn(40, 2, 2, 3):
        first.step_by([[gradient.flatten(0, 1)[places]]], place or torch.tensor(places))
        theirs.grad = gradient
        with second.masked({theirs: mask.view(2, 2)}):
            second.step()
    assert torch.equal(mine, theirs)
    for name, value in first.state[mine].items():
        assert torch.equal(value, second.state[theirs][name]), name


def test_step_sizes_do_not_depend_on_the_number_of_slices():
    """torch computes powers by two kernels, which differ in the last bit, for example for 0.9^31."""
    wide, narrow = torch.zeros(64, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    first, second = MaskedAdam([wide], lr=0.1), MaskedAdam([narrow], lr=0.1)
    for _ in range(400):
        step(first, torch.ones(64, 1)), step(second, torch.ones(1, 1))
        assert (wide == narrow).all()


def test_a_slice_steps_by_its_own_count():
    weight = torch.zeros(2, 1, requires_grad=True)
    optimizer = MaskedAdam([weight], lr=0.1)
    for gradient in [[1.0], [0.0]], [[1.0], [1.0]]:
        step(optimizer, torch.tensor(gradient))
    assert optimizer.state[weight]["step"].tolist() == [2, 1]
    assert weight.flatten().tolist() == pytest.approx([-0.2, -0.1], rel=1e-4)


def test_a_mask_ends_with_its_block_even_if_that_fails():
    weight = torch.zeros(2, 1, requires_grad=True)
    optimizer = MaskedAdam([weight], lr=0.1)
    with pytest.raises(KeyError), optimizer.masked({weight: torch.tensor([False, False])}):
        raise KeyError
    step(optimizer, torch.ones(2, 1))
    assert weight.all()


def test_a_closure_is_evaluated_with_gradients():
    weight = torch.ones(2, 1, requires_grad=True)
    optimizer = MaskedAdam([weight], lr=0.1)

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2
    assert weight.flatten().tolist() == pytest.approx([0.9, 0.9])


def test_a_saved_state_continues_exactly():
    first, second = parameter(3, 2), parameter(3, 2)
    one, two = MaskedAdam([first], lr=0.1), MaskedAdam([second], lr=0.5)
    step(one, torch.tensor([[1.0, 2], [0, 0], [3, 4]]))
    with torch.no_grad():
        second.copy_(first)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    for optimizer in one, two:
        step(optimizer, torch.ones(3, 2))
    assert torch.equal(first, second)


def test_fused_adam_is_torchs_to_the_bit_and_leaves_unused_parameters_alone():
    random = torch.Generator().manual_seed(0)
    shapes = [(3, 2), (4,), (5, 1), (2, 2)]
    first = [torch.randn(shape, generator=random, requires_grad=True) for shape in shapes]
    second = [p.detach().clone().requires_grad_() for p in first]
    mine, theirs = FusedAdam(first, 0.1), torch.optim.Adam([{"params": second}], 0.1, fused=True)
    for step in range(12):
        for group in (*mine.param_groups, *theirs.param_groups):
            group["lr"] = 0.1 * 0.9**step
        for number, (p, twin) in enumerate(zip(first, second, strict=True)):
            used = (step + number) % 3 > 0
            p.grad = torch.randn(p.shape, generator=random) if used else None
            twin.grad = None if p.grad is None else p.grad.clone()
        mine.step(), theirs.step()
        if step == 6:
            mine.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for p, twin in zip(first, second, strict=True):
        assert torch.equal(p, twin)
        assert all(torch.equal(value, theirs.state[twin][name]) for name, value in mine.state[p].items())
    assert mine.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]


SETTINGS = [{"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_weight_decay": True}, {"maximize": True}]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: list(settings)[-1])
def test_settings_of_fused_adam_that_are_changed_by_hand_count_as_torchs(settings):
    first = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    second = first.detach().clone().requires_grad_()
    mine, theirs = FusedAdam([first], 0.1), torch.optim.Adam([second], 0.1, fused=True)
    for optimizer, p in ((mine, first), (theirs, second)):
        optimizer.param_groups[0].update(settings)
        p.grad = torch.ones(5, 3)
        optimizer.step(), optimizer.step()
    assert torch.equal(first, second)
    twin = mine.of(torch.nn.ParameterList([first]))
    assert settings.items() <= twin.param_groups[0].items()


def test_settings_that_an_optimizer_does_not_have_are_refused():
    p = parameter(2)
    fused = FusedAdam([p], 0.1)
    fused.param_groups[0]["amsgrad"] = True
    with pytest.raises(ValueError, match="no amsgrad, so that amsgrad=True changes nothing"):
        fused.step()
    with pytest.raises(ValueError, match="trains the parameters that it was made with"):
        FusedAdam([p], 0.1).add_param_group({"params": [parameter(2)]})
    for axes in (0, 1):
        masked = MaskedAdam([p], lr=0.1, axes=axes)
        masked.param_groups[0]["weight_decay"] = 0.1
        p.grad = torch.ones(2)
        with pytest.raises(ValueError, match="no weight_decay"):
            masked.step()
        with pytest.raises(ValueError, match="no weight_decay"):
            masked.step_by([[p.grad]], slice(0, 2))
