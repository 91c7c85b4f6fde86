import pytest

from mtl_gym.data import MultiTaskDataset, TaskCollection, load, resolve


def test_names_are_loaded_with_their_arguments():
    assert resolve("brain-series", MultiTaskDataset, arguments={"relatedness": 0.5}) is load(
        "brain-series", relatedness=0.5
    )


def test_objects_are_returned_unchanged():
    assert resolve(load("digits"), MultiTaskDataset, "/no/such/folder") is load("digits")
    assert resolve(load("generated-linear"), TaskCollection) is load("generated-linear")


def test_arguments_need_a_name():
    with pytest.raises(ValueError, match="noise"):
        resolve(load("digits"), MultiTaskDataset, arguments={"noise": 1})


@pytest.mark.parametrize("data", ["generated-linear", load("generated-linear"), 7])
def test_other_kinds_of_data_set_are_refused(data):
    with pytest.raises(ValueError, match="MultiTaskDataset"):
        resolve(data, MultiTaskDataset)


def test_a_data_set_is_refused_if_a_collection_is_required():
    with pytest.raises(ValueError, match="TaskCollection"):
        resolve("digits", TaskCollection)
