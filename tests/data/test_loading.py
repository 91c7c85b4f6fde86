import urllib.error
from pathlib import Path
from types import SimpleNamespace

import platformdirs
import pytest

import mtl_gym.data as data
from mtl_gym.data import fetching
from mtl_gym.data import registry as table

from .fabricated import write_mnist


@pytest.fixture
def offline(monkeypatch):
    """Fail and record every network request."""
    attempts = []

    def refuse(request, *args, **kwargs):
        attempts.append(request)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return attempts


def pretend_download(monkeypatch, write):
    """Replace torchvision's download by ``write(root)``."""

    def torchvision_class(root, download):
        assert download
        write(Path(root))

    datasets = SimpleNamespace(MNIST=torchvision_class, CIFAR100=torchvision_class)
    monkeypatch.setattr(fetching, "import_torchvision", lambda: SimpleNamespace(datasets=datasets))


def test_the_names_are_those_of_the_catalogue_in_its_order():
    assert data.names() == [source.name for source in data.catalogue()]
    assert data.names()[:4] == ["digits", "mnist", "cifar", "mini-imagenet"]


def test_every_entry_of_the_catalogue_is_described_and_obtainable():
    for source in data.catalogue():
        assert source.description and source.origin and source.licence and source.size
        assert source.tasks > 1
        assert source.downloadable or source.by_hand


def test_only_data_sets_of_torchvision_are_downloaded():
    by_hand = [source.name for source in data.catalogue() if not source.downloadable]
    assert by_hand == ["mini-imagenet", "reviews", "reviews-leaked", "tagging", "code-switched", "cross-modal"]


def test_only_data_sets_without_files_are_present_in_an_empty_root(tmp_path):
    present = [source.name for source in data.catalogue() if source.is_present(tmp_path)]
    generated = ["linear", "linear-noisy", "generated-linear", "generated-linear-noisy"]
    assert present == ["digits", "brain-series", "clinical-series", *generated]


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_present_packed_or_unpacked(tmp_path, packed):
    folder = write_mnist(tmp_path, packed=packed)
    assert table.find("mnist").is_present(tmp_path)
    next(iter(folder.iterdir())).unlink()
    assert not table.find("mnist").is_present(tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"), [("minst", "'mnist'"), ("CIFAR", "'cifar'"), ("miniimagenet", "'mini-imagenet'")]
)
def test_an_unknown_name_is_refused_with_the_nearest_and_all_known_names(name, hint):
    with pytest.raises(data.UnknownDatasetError, match=rf"Did you mean {hint}\?.*Known: digits, mnist, cifar"):
        data.load(name)


def test_a_name_without_a_near_match_is_refused_with_all_known_names():
    with pytest.raises(data.UnknownDatasetError, match=r"no data set 'zzz'\. Known: digits"):
        data.load("zzz")


def test_unknown_data_is_a_value_error_and_missing_data_a_file_not_found_error():
    assert issubclass(data.UnknownDatasetError, ValueError)
    assert issubclass(data.MissingDataError, FileNotFoundError)
    assert issubclass(data.DamagedDataError, ValueError)


@pytest.mark.parametrize("name", ["mnist", "cifar", "mini-imagenet", "reviews", "tagging", "code-switched"])
def test_missing_files_are_named_with_folder_command_and_variable_without_network(tmp_path, name, offline):
    with pytest.raises(data.MissingDataError) as caught:
        data.load(name, tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert f"MTL_GYM_DATA={tmp_path} mtl-gym data get {name}" in message
    assert "set MTL_GYM_DATA to that folder" in message
    assert all(file in message for file in table.find(name).files)
    assert not offline


def test_the_command_has_no_variable_if_the_root_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path))
    with pytest.raises(data.MissingDataError, match=r"Get it with `mtl-gym data get mnist`"):
        data.load("mnist")


def test_the_error_for_missing_mini_imagenet_describes_its_folders(tmp_path):
    with pytest.raises(data.MissingDataError, match=r"mini-imagenet/train/WNID/\*\.jpg"):
        data.load("mini-imagenet", tmp_path)


def test_digits_load_from_any_root_and_are_the_same_object(tmp_path):
    assert data.load("digits", tmp_path) is data.load("digits", tmp_path / "other") is data.load("digits")


def test_different_spellings_of_one_root_share_one_object(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_SOURCES", (pretend_source("mine", lambda root: SimpleNamespace(root=root)),))
    first = data.load("mine", tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert data.load("mine", tmp_path.name) is first
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path))
    assert data.load("mine") is first


def pretend_source(name, build):
    return data.DataSource(name, "d", 2, "o", "l", "s", layouts=((".",),), build=build)


def test_a_failed_load_is_not_cached(tmp_path, monkeypatch):
    outcomes = [data.DamagedDataError("broken"), "fine"]

    def build(root):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(table, "_SOURCES", (pretend_source("mine", build),))
    with pytest.raises(data.DamagedDataError):
        data.load("mine", tmp_path)
    assert data.load("mine", tmp_path) == "fine"


def test_the_root_is_the_argument_or_the_variable_or_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path / "variable"))
    assert data.data_root(tmp_path / "argument") == tmp_path / "argument"
    assert data.data_root() == tmp_path / "variable"
    monkeypatch.setenv("MTL_GYM_DATA", "")
    assert data.data_root() == platformdirs.user_cache_path("mtl-gym", appauthor=False).resolve()
    monkeypatch.delenv("MTL_GYM_DATA")
    assert data.data_root().name == "mtl-gym"


def test_the_root_is_absolute_with_the_home_folder_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.data_root("~/data") == tmp_path / "data"
    assert data.data_root("data").is_absolute()


def test_digits_need_no_download(tmp_path, offline):
    assert data.download("digits", tmp_path) == tmp_path
    assert not offline
    assert not list(tmp_path.iterdir())


def test_a_data_set_that_is_present_is_not_downloaded_again(tmp_path, offline):
    write_mnist(tmp_path, packed=True)
    data.download("mnist", tmp_path)
    assert not offline


def test_the_download_of_mini_imagenet_is_refused_with_its_folders(tmp_path, offline):
    with pytest.raises(data.DownloadError, match=r"licence .* mini-imagenet/train/WNID/\*\.jpg"):
        data.download("mini-imagenet", tmp_path)
    assert not offline


def test_a_download_leaves_only_its_files_in_the_root(tmp_path, monkeypatch):
    pretend_download(monkeypatch, write_mnist)
    data.download("mnist", tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new" / "MNIST" / "raw").iterdir()) == sorted(
        Path(name).name for name in table.find("mnist").layouts[0]
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["MNIST"]


@pytest.mark.parametrize("name", ["mnist", "cifar"])
def test_a_failed_download_is_reported_with_its_reason_and_remedy(tmp_path, offline, name, capfd):
    with pytest.raises(data.DownloadError) as caught:
        data.download(name, tmp_path)
    message = str(caught.value)
    assert f"could not download data set '{name}' to {tmp_path}" in message
    assert "no route to host" in message
    assert "Check the network connection" in message
    assert table.find(name).layouts[0][0] in message
    assert "\n" not in message
    assert offline
    assert not list(tmp_path.iterdir())


def test_an_interrupted_download_does_not_count_as_present(tmp_path, monkeypatch):
    def write_half(root):
        (write_mnist(root) / "t10k-labels-idx1-ubyte").unlink()

    pretend_download(monkeypatch, write_half)
    with pytest.raises(data.DownloadError, match="could not download"):
        data.download("mnist", tmp_path)
    assert not table.find("mnist").is_present(tmp_path)


def test_a_root_that_cannot_be_created_is_a_download_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(data.DownloadError, match="writable"):
        data.download("mnist", tmp_path / "file" / "root")


def test_load_downloads_only_on_request(tmp_path, monkeypatch):
    fetched = []

    def write(root):
        fetched.append(root)
        folder = root / "cifar-100-python"
        folder.mkdir()
        for name in ("train", "test", "meta"):
            (folder / name).write_bytes(b"unexpected by torchvision")

    pretend_download(monkeypatch, write)
    with pytest.raises(data.MissingDataError):
        data.load("cifar", tmp_path)
    assert not fetched
    with pytest.raises(data.DamagedDataError, match="cifar-100-python is damaged"):
        data.load("cifar", tmp_path, download=True)
    assert len(fetched) == 1
