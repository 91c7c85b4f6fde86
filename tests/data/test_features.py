"""Features of frozen encoders in place of inputs, and their cache."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym import MultiTaskDataset
from mtl_gym.data import DamagedDataError, features, load
from mtl_gym.data.encoders import ConvEncoder, FittedEncoder, encoder_of, fit_lsa, fit_patches, write_encoder
from mtl_gym.data.encoders.patches import _whitening
from mtl_gym.data.split import SPLITS, Split


class Counting(nn.Module):
    """A linear map that counts its rows, with parts that behave differently in training."""

    def __init__(self, width=3, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Dropout(0.5), nn.Linear(48, width))
        self.rows, self.sizes = 0, []

    def forward(self, x):
        assert not torch.is_grad_enabled()
        self.rows, self.sizes = self.rows + len(x), [*self.sizes, len(x)]
        return self.layers(x)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (60, 3, 4, 4), dtype=torch.uint8, generator=generator)
    x[1] = x[0]

    def split(first, last):
        rows = torch.arange(first, last)
        task = torch.arange(2).repeat_interleave(len(rows))
        return Split(x[rows].repeat(2, 1, 1, 1), task, rows.repeat(2) % 2)

    splits = {"train": split(0, 30), "validation": split(30, 40), "test": split(40, 60)}
    return MultiTaskDataset(
        "pictures", splits, ("a", "b"), (("no", "yes"),) * 2, torch.full((3, 1, 1), 128.0), torch.full((3, 1, 1), 64.0)
    )


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path))
    return tmp_path


def cache_of(root):
    return sorted((root / "features").glob("*.npz"))


def test_features_are_those_of_the_normalised_inputs_in_evaluation_mode(images):
    encoder = Counting()
    data = images.with_features(encoder)
    expected = encoder.eval().layers(images.inputs("test", torch.arange(40)))
    assert torch.allclose(data.split("test").x, expected, atol=1e-5)
    assert data.task_names == images.task_names and torch.equal(data.split("test").y, images.split("test").y)
    assert data.input_shape == (3,) and data.inputs("train", torch.arange(60)).std(0, correction=0) == pytest.approx(1)


def test_each_distinct_input_is_encoded_once_in_batches(images):
    encoder = Counting()
    images.with_features(encoder, batch=8)
    assert encoder.rows == 59 and max(encoder.sizes) == 8


def test_the_encoder_keeps_its_modes_and_gradients(images):
    encoder = Counting()
    encoder.layers[1].eval()
    images.with_features(encoder)
    assert encoder.training and encoder.layers[2].training and not encoder.layers[1].training
    assert all(weight.requires_grad and weight.grad is None for weight in encoder.parameters())


def test_the_second_call_reads_the_cache(images, root):
    first = images.with_features(Counting())
    encoder = Counting()
    second = images.with_features(encoder)
    assert encoder.rows == 4 and len(cache_of(root)) == 1  # a few are compared with the cache
    assert all(torch.equal(first.split(name).x, second.split(name).x) for name in first.splits)
    assert [path.name for path in (root / "features").iterdir()] == [cache_of(root)[0].name]


@pytest.mark.parametrize("change", ["weights", "buffers", "structure", "inputs", "normalisation"])
def test_another_encoder_or_other_data_have_a_cache_of_their_own(images, root, change):
    images.with_features(Counting())
    encoder, data = Counting(seed=int(change == "weights")), images
    if change == "buffers":
        encoder.layers[1].running_mean += 1
    if change == "structure":
        encoder.layers[2].p = 0.1
    if change == "inputs":
        train = images.split("train")
        splits = {**images.splits, "train": Split(255 - train.x, train.task, train.y)}
        data = MultiTaskDataset("pictures", splits, images.task_names, images.class_names, images.mean, images.std)
    if change == "normalisation":
        data = MultiTaskDataset("pictures", images.splits, images.task_names, images.class_names)
    data.with_features(encoder)
    assert encoder.rows == 59 and len(cache_of(root)) == 2


@pytest.mark.parametrize("keep", [0, 300, -100])
def test_a_damaged_cache_is_told_and_replaced(images, root, caplog, keep):
    first = images.with_features(Counting())
    (path,) = cache_of(root)
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        again = images.with_features(Counting())
    assert f"{path.name} is damaged" in caplog.text and "computing the features again" in caplog.text
    assert torch.equal(first.split("test").x, again.split("test").x)
    caplog.clear()
    images.with_features(Counting())
    assert not caplog.messages


@pytest.mark.parametrize(
    "changes",
    [
        {"key": np.array("of another")},
        {"test": np.zeros((3, 3), np.float32)},
        {"train": np.zeros((29, 3), np.float32)},
        {"validation": np.full((10, 3), np.nan, np.float32)},
        {"train": np.zeros((29, 3))},
        {"train": np.array(1.0)},
        {"test": np.zeros((20, 7), np.float32)},
        {"validation": np.zeros(10, np.float32)},
        {"key": np.array([None], dtype=object)},
    ],
)
def test_a_foreign_cache_is_told_and_replaced(images, root, caplog, changes):
    first = images.with_features(Counting())
    (path,) = cache_of(root)
    with np.load(path) as archive:
        np.savez(path, **{**archive, **changes})
    with caplog.at_level(logging.WARNING):
        again = images.with_features(Counting())
    assert "of other data or of another encoder" in caplog.text or "is damaged" in caplog.text
    assert torch.equal(first.split("train").x, again.split("train").x)


def test_an_encoder_whose_code_has_changed_is_noticed(images, caplog, monkeypatch):
    images.with_features(Counting())
    monkeypatch.setattr(Counting, "forward", lambda self, x: 2 * self.layers(x) + 1)
    with caplog.at_level(logging.WARNING):
        changed = images.with_features(Counting())
    assert "of another encoder" in caplog.text
    assert torch.allclose(
        changed.split("test").x, 2 * Counting().eval().layers(images.inputs("test", torch.arange(40))) + 1, atol=1e-5
    )


def test_without_a_writable_folder_features_come_without_a_cache(images, caplog, monkeypatch, root):
    def fill(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("mtl_gym.data.caching.np.savez", fill)
    assert images.with_features(Counting()).input_shape == (3,)
    assert "cannot cache the features" in caplog.text and not list((root / "features").iterdir())


def test_half_a_cache_of_a_killed_process_is_removed(images, root):
    (root / "features").mkdir()
    (root / "features" / ".pictures-0.npz.x.unfinished").write_bytes(b"half")
    images.with_features(Counting())
    assert [path.suffix for path in (root / "features").iterdir()] == [".npz"]


def test_keys_of_caches_stay_as_they_are():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for value in encoder.state_dict().values():
        value.fill_(3)
    split = Split(np.arange(8).reshape(4, 2) / 8, [0] * 4, [0, 1, 0, 1])
    data = MultiTaskDataset("fixed", dict.fromkeys(SPLITS, split), ("a",), (("no", "yes"),))
    assert features._key(data, encoder) == "0ed0e6942a0054fa490f151aa8947a4af9efdf32f0b8471c0326b4f9259c0821"


class Marked(nn.Linear):
    """A linear map with a state of its own."""

    marks = ("first",)

    def get_extra_state(self):
        return {"marks": self.marks, "table": torch.arange(3)}


def test_an_encoder_with_a_state_of_its_own_is_cached_by_it(root):
    data = load("digits")
    encoder = Marked(64, 3)
    wanted = data.with_features(encoder)
    assert torch.equal(data.with_features(encoder).split("test").x, wanted.split("test").x) and len(cache_of(root)) == 1
    encoder.marks = ("second",)
    data.with_features(encoder)
    assert len(cache_of(root)) == 2


@pytest.mark.filterwarnings("ignore")  # torch announces the end of its quantised tensors
def test_a_quantised_encoder_is_cached_by_its_weights(root):
    torch.manual_seed(0)
    linears = [nn.Sequential(nn.Linear(64, 3)) for _ in range(2)]
    for encoder in (linears[0], linears[0], linears[1]):
        load("digits").with_features(torch.ao.quantization.quantize_dynamic(encoder, {nn.Linear}, torch.qint8))
    assert len(cache_of(root)) == 2


class Uneven(nn.Module):
    """Features whose number depends on the batch."""

    def forward(self, x):
        return x.flatten(1)[:, : len(x)]


@pytest.mark.parametrize(
    ("encoder", "batch", "message"),
    [
        (Uneven(), 8, r"Uneven gave features of shape \[[235]\] for some inputs of 'pictures' and \[8\] for others"),
        (Uneven(), 40, r"Uneven gave features of shape \[10\] for some inputs of 'pictures' and \[20\] for others"),
        (nn.Conv2d(3, 2, 3).bfloat16(), 8, r"Conv2d cannot encode .*; its weights are torch.bfloat16: call .float\(\)"),
        (nn.Conv2d(3, 2, 3, device="meta"), 8, r"its output is a tensor of .* without values \(device meta\)"),
    ],
)
def test_features_of_other_shapes_and_types_are_refused(images, root, encoder, batch, message):
    with pytest.raises(ValueError, match=message):
        images.with_features(encoder, batch=batch)
    assert not cache_of(root)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("alexnet", r"no encoder 'alexnet' in .*encoders; choose one of patches, lsa, or pass an nn.Module"),
        (lambda x: x, r"encoder is a function, but must be an nn.Module or the name of an encoder"),
        (nn.Flatten(0), r"Flatten gave a tensor of torch.float32 and shape \[1392\] for 29 inputs of 'pictures'"),
        (nn.Conv2d(1, 2, 3), r"Conv2d cannot encode inputs of .pictures., a tensor of .*\[29, 3, 4, 4\] \(Runtime"),
        (nn.Threshold(9.0, float("nan")), r"Threshold gave NaN or infinity for inputs of 'pictures'"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(images, encoder, message):
    with pytest.raises(ValueError, match=message):
        images.with_features(encoder)
    with pytest.raises(ValueError, match=r"batch=0 is not possible"):
        images.with_features(Counting(), batch=0)


def test_data_sets_by_name_take_features(root):
    encoder = nn.Linear(64, 5)
    data = load("digits", root, features=encoder)
    assert data.input_shape == (5,) and len(cache_of(root)) == 1
    with pytest.raises(ValueError, match=r"'linear' has tasks with inputs of their own"):
        load("linear", features=encoder)


def test_an_encoder_by_name_is_one_of_the_root_that_has_the_cache(images, tmp_path):
    write_encoder(tmp_path / "other" / "encoders" / "own.npz", ConvEncoder((3, 4)).eval())
    assert images.with_features("own", cache=tmp_path / "other").input_shape == (4,)
    assert len(cache_of(tmp_path / "other")) == 1
    with pytest.raises(ValueError, match=r"no encoder 'own' in .*; choose one of patches"):
        images.with_features("own")


def test_patches_are_fitted_to_training_images_alone_and_tell_classes_apart(root):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 2
    stripes = (torch.arange(12) % 4 < 2).float()
    x = torch.where(y[:, None, None] == 0, stripes, stripes[:, None]).expand(240, 12, 12)[:, None]
    x = (200 * x + 40 * torch.rand(240, 1, 12, 12, generator=generator)).roll(1, 2).to(torch.uint8)
    data = MultiTaskDataset.from_tasks("stripes", {"which": (x, y)})
    featured = data.with_features("patches")
    train, test = featured.split("train"), featured.split("test")
    means = torch.stack([train.x[train.y == label].mean(0) for label in (0, 1)])
    assert bool((torch.cdist(test.x, means).argmin(1) == test.y).all())
    expected = fit_patches(data.inputs("train", features._distinct(data.split("train").x)[0]))
    assert torch.allclose(expected(data.inputs("test", torch.arange(5))), test.x[:5], atol=1e-5)
    with pytest.raises(ValueError, match=r"'patches' takes images \[channels, height, width\], not inputs \[64\]"):
        load("digits").with_features("patches")


def texts_of(rows):
    """Texts of two subjects with words of their own, among words that both use; int64 [rows, 12], and the subjects."""
    generator = torch.Generator().manual_seed(rows)
    subject = torch.arange(rows) % 2
    ids = torch.where(
        torch.rand(rows, 12, generator=generator) < 0.5,
        torch.randint(2, 12, (rows, 12), generator=generator),
        12 + 20 * subject[:, None] + torch.randint(20, (rows, 12), generator=generator),
    )
    ids[::3, 8:] = 0
    return ids, subject


def test_lsa_is_fitted_to_training_texts_alone_and_tells_subjects_apart():
    splits = {name: Split(x, y * 0, y) for name, (x, y) in zip(SPLITS, map(texts_of, (300, 30, 60)), strict=True)}
    words = ("<pad>", "<unk>", *(f"word {number}" for number in range(2, 52)))
    data = MultiTaskDataset("texts", splits, ("which",), (("a", "b"),), vocabulary=words)
    encoder = fit_lsa(data.inputs("train", torch.arange(300)), width=2)
    featured = data.with_features(encoder)
    train, test = featured.split("train"), featured.split("test")
    means = torch.stack([train.x[train.y == label].mean(0) for label in (0, 1)])
    assert bool((torch.cdist(test.x, means).argmin(1) == test.y).all()) and not featured.has_text
    with pytest.raises(ValueError, match=r"300 texts of 52 different tokens have no 128 singular vectors; .*width=52"):
        data.with_features("lsa")


def test_lsa_is_the_singular_value_decomposition_of_weighted_words_and_ignores_padding_and_rare_words():
    ids, _ = texts_of(200)
    encoder = fit_lsa(ids, width=2, words=40)
    there = torch.stack([(ids == token).any(1) for token in range(42)], 1).float()
    there[:, :2] = 0
    frequency = there.sum(0)
    weighted = there * (torch.log(201 / (1 + frequency)) + 1) * (frequency > 0)
    weighted = weighted / weighted.norm(dim=1, keepdim=True)
    left, values, _ = torch.linalg.svd(weighted, full_matrices=False)
    assert torch.allclose(encoder(ids).abs(), (left * values)[:, :2].abs(), atol=1e-3)
    assert torch.equal(encoder(torch.tensor([[5, 9, 0]])), encoder(torch.tensor([[9, 5, 1, 45]])))
    assert bool((encoder(torch.zeros(1, 4, dtype=torch.int64)) == 0).all())


def test_lsa_runs_on_its_own_device_in_float32():
    ids, _ = texts_of(60)
    encoder = fit_lsa(ids, width=2)
    torch.set_default_dtype(torch.float64)
    try:
        again = fit_lsa(ids, width=2)
        assert torch.equal(again(ids), encoder(ids)) and again(ids).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert encoder.to("meta")(ids.to("meta")).shape == (60, 2)


def test_lsa_takes_texts_alone():
    with pytest.raises(ValueError, match=r"'lsa' takes texts of one label each, not torch.float32 inputs \[64\]"):
        load("digits").with_features("lsa")


def test_a_patch_encoder_is_the_triangle_activation_of_whitened_patches():
    """Coates, Lee, Ng 2011, section 3 and equation 4, patch by patch in one quadrant."""
    images = torch.rand(30, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    encoder = fit_patches(images, centroids=7, side=4, stride=2, patches=2000)
    found = []
    for top, left in ((4, 0), (4, 2), (6, 0), (6, 2), (8, 0), (8, 2), (4, 4), (6, 4), (8, 4)):  # rows 2-4, columns 0-2
        patch = images[0, :, top : top + 4, left : left + 4].flatten()
        patch = (patch - patch.mean()) / (patch.var(correction=0) + 0.01).sqrt()
        distance = ((patch - encoder.mean) @ encoder.whitening - encoder.centroids).norm(dim=1)
        found.append((distance.mean() - distance).relu())
    lower_left = encoder(images[:1]).view(7, 2, 2)[:, 1, 0]
    assert torch.allclose(lower_left, torch.stack(found).mean(0), atol=1e-5)


def test_whitening_divides_by_the_root_of_variance_and_regulariser():
    centred = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 1.0, 0.1])
    centred = (centred - centred.mean(0)) @ torch.linalg.qr(torch.arange(9.0).view(3, 3).sin())[0]
    values = torch.linalg.eigvalsh(centred.T @ centred / 4000)
    white = centred @ _whitening(centred)
    assert torch.allclose(torch.linalg.eigvalsh(white.T @ white / 4000), values / (values + 0.1), atol=1e-4)


def test_an_encoder_that_cannot_be_written_is_told(root):
    (root / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_encoder(root / "file" / "own.npz", ConvEncoder((3, 4)))
    with pytest.raises(ValueError, match=r"own is no name of an encoder's file; name it own\.npz"):
        write_encoder(root / "own", ConvEncoder((3, 4)))


def test_patches_are_refused_by_small_images_and_float32_in_any_mode():
    with pytest.raises(ValueError, match=r"images of 5 by 4 pixels have no patches of side 6; resize them, or pass"):
        fit_patches(torch.zeros(3, 1, 4, 5))
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    usual = fit_patches(images, centroids=3, patches=50).centroids
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(fit_patches(images, centroids=3, patches=50).centroids, usual)
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_encoder_by_name_is_read_from_its_file(images, root):
    encoder = ConvEncoder((3, 4, 6)).eval()
    write_encoder(root / "encoders" / "own.npz", encoder)
    named, given = images.with_features("own"), images.with_features(encoder)
    assert torch.equal(named.split("test").x, given.split("test").x) and len(cache_of(root)) == 1
    assert isinstance(encoder_of("patches", root), FittedEncoder)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(images.with_features("own").split("test").x, named.split("test").x)
    finally:
        torch.set_default_dtype(torch.float32)
    (root / "encoders" / "own.npz").write_bytes(b"PK")
    with pytest.raises(DamagedDataError, match=r"own\.npz is damaged: it holds no encoder"):
        images.with_features("own")
    with pytest.raises(ValueError, match=r"no encoder '\.\./own' .* choose one of patches, lsa, own"):
        images.with_features("../own")
