import copy
import pickle

import pytest
import torch

from mtl_gym.data import MultiTaskDataset, Split, load


def spoil(parts, split, **changes):
    old = parts["splits"][split]
    values = {"x": old.x, "task": old.task, "y": old.y} | changes
    return parts | {"splits": {**parts["splits"], split: Split(**values)}}


def test_sizes_follow_from_the_parts(parts):
    data = MultiTaskDataset(**parts)
    assert (data.num_tasks, data.num_classes, data.max_classes, data.input_shape) == (2, (2, 3), 3, (2,))
    assert list(data.splits) == ["train", "validation", "test"]
    assert len(data.split("test")) == 5


def test_inputs_are_normalised_by_hand_computed_numbers(parts):
    data = MultiTaskDataset(**parts, mean=torch.tensor([1.0, 2.0]), std=torch.tensor([2.0, 4.0]))
    rows = data.inputs("train", torch.tensor([0, 2]))
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[-0.5, -0.25], [1.5, 0.75]]


def test_inputs_without_statistics_are_the_rows_as_float32(parts):
    images = {name: Split(split.x.to(torch.uint8), split.task, split.y) for name, split in parts["splits"].items()}
    rows = MultiTaskDataset(**parts | {"splits": images}).inputs("validation", torch.tensor([[0], [4]]))
    assert rows.dtype == torch.float32
    assert rows.tolist() == [[[1, 2]], [[9, 10]]]


@pytest.mark.parametrize("statistics", [{}, {"mean": torch.zeros(2), "std": torch.ones(2)}])
@pytest.mark.parametrize("index", [torch.tensor([1]), torch.tensor(1)])
def test_writing_to_inputs_does_not_change_the_data(parts, statistics, index):
    data = MultiTaskDataset(**parts, **statistics)
    data.inputs("train", index).zero_()
    assert data.split("train").x[1].tolist() == [2, 3]


def test_an_unknown_split_is_named_with_the_known_ones(parts):
    with pytest.raises(ValueError, match=r"'toy' has no split 'dev'; choose one of train, validation, test"):
        MultiTaskDataset(**parts).split("dev")


def test_a_data_set_is_immutable(parts):
    data = MultiTaskDataset(**parts)
    with pytest.raises(AttributeError):
        data.name = "other"
    with pytest.raises(TypeError):
        data.splits["train"] = data.splits["test"]


def test_changes_of_the_users_mapping_do_not_change_the_data_set(parts):
    data = MultiTaskDataset(**parts)
    del parts["splits"]["train"]
    assert len(data.split("train")) == 5


def test_deepcopy_returns_the_same_object(parts):
    data = MultiTaskDataset(**parts)
    assert copy.deepcopy({"data": data})["data"] is data


def test_pickling_preserves_all_fields(parts):
    data = MultiTaskDataset(**parts, mean=torch.zeros(2), std=torch.ones(2))
    again = pickle.loads(pickle.dumps(data))
    assert repr(again) == repr(data)
    assert again.class_names == data.class_names
    assert torch.equal(again.split("test").x, data.split("test").x)
    assert torch.equal(again.std, data.std)


def test_repr_shows_sizes_without_tensors(parts):
    assert repr(MultiTaskDataset(**parts)) == (
        "MultiTaskDataset('toy', 2 tasks, classes (2, 3), input [2] float32, train 5, validation 5, test 5)"
    )


def test_to_the_current_device_returns_the_same_object(parts):
    data = MultiTaskDataset(**parts)
    assert data.to("cpu") is data
    assert data.to(torch.device("cpu")) is data


def test_to_moves_every_tensor_and_shares_one_copy_per_device(parts):
    data = MultiTaskDataset(**parts, mean=torch.zeros(2), std=torch.ones(2))
    moved = data.to("meta")
    tensors = [moved.mean, moved.std, *(part for s in moved.splits.values() for part in (s.x, s.task, s.y))]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.name, moved.num_classes) == (data.name, data.num_classes)
    assert data.to("meta") is moved
    assert data.split("train").x.device.type == "cpu"


def test_an_unused_moved_copy_is_freed(parts):
    data = MultiTaskDataset(**parts)
    data.to("meta")
    assert not data._copies


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_inputs_on_a_gpu_equal_those_on_the_cpu(parts):
    data = MultiTaskDataset(**parts, mean=torch.ones(2), std=torch.full((2,), 2.0))
    moved = data.to("cuda")
    assert data.to("cuda:0") is moved
    rows = moved.inputs("train", torch.tensor([0, 3], device="cuda"))
    assert torch.equal(rows.cpu(), data.inputs("train", torch.tensor([0, 3])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_names": (), "class_names": ()}, "'toy' has no tasks"),
        ({"task_names": ("a", "a")}, r"task names \['a'\] occur more than once"),
        ({"class_names": (("n", "y"),)}, "2 task names but class names for 1 tasks"),
        ({"class_names": (("n", "y"), ())}, "task 'b' has no class names"),
        ({"mean": torch.zeros(2)}, "only one of mean and std"),
        ({"mean": torch.zeros(2), "std": torch.tensor([1.0, 0.0])}, r"std holds 0\.0, but must be above 0"),
        ({"mean": torch.zeros(3), "std": torch.ones(3)}, r"mean has shape \[3\].* input shape \[2\]"),
        ({"mean": torch.zeros(1, 2), "std": torch.ones(1, 2)}, r"mean has shape \[1, 2\]"),
        ({"mean": torch.zeros(2), "std": torch.tensor([1.0, torch.inf])}, "row 1 of std holds NaN, infinity"),
    ],
)
def test_inconsistent_parts_are_named(parts, changes, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskDataset(**parts | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(4, 2)}, r"split 'train': task has shape \[5\], but x has 4 rows"),
        ({"y": torch.zeros(6).long()}, r"split 'train': y has shape \[6\], but x has 5 rows"),
        ({"task": torch.zeros(5, 1).long()}, r"task has shape \[5, 1\]"),
        ({"task": torch.tensor([0, 0, 1, 1, 2])}, "row 4 has task 2, but there are 2 tasks"),
        ({"task": torch.tensor([0, -1, 1, 1, 1])}, "row 1 has task -1"),
        ({"y": torch.tensor([0, 2, 0, 1, 2])}, "row 1 of task 'a' has label 2, but the task has 2 classes"),
        ({"y": torch.tensor([0, 1, 0, -1, 2])}, "row 3 of task 'b' has label -1"),
        ({"task": torch.tensor([1, 1, 1, 1, 1])}, "split 'train': task 'a' has no row"),
        ({"x": torch.tensor([[0, 0]] * 4 + [[0, torch.nan]])}, r"split 'train': row 4 of x \(task 'b'\) holds NaN"),
        ({"x": torch.zeros(5, 3)}, r"the splits differ in the shape of an input .*'train': '\[3\]'"),
        ({"x": torch.zeros(5, 2).int()}, "the splits differ in the dtype"),
        ({"x": torch.zeros(0, 2), "task": torch.zeros(0).long(), "y": torch.zeros(0).long()}, "'a' has no row"),
    ],
)
def test_an_invalid_split_is_named_with_the_problem(parts, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        MultiTaskDataset(**spoil(parts, "train", **changes))
    assert "data set 'toy'" in str(caught.value)


def test_other_split_names_are_refused(parts):
    splits = dict(parts["splits"])
    splits["dev"] = splits.pop("validation")
    with pytest.raises(ValueError, match=r"has the splits \['dev', 'test', 'train'\], but exactly"):
        MultiTaskDataset(**parts | {"splits": splits})


def test_channel_statistics_broadcast_over_an_image(parts):
    images = {name: Split(torch.zeros(5, 3, 4, 4), s.task, s.y) for name, s in parts["splits"].items()}
    mean, std = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1), torch.ones(3, 1, 1)
    data = MultiTaskDataset(**parts | {"splits": images}, mean=mean, std=std)
    assert data.inputs("test", torch.tensor([0]))[0, :, 2, 3].tolist() == [-1, -2, -3]


def test_a_part_has_the_rows_of_its_tasks_in_the_given_order():
    whole = load("digits")
    part = whole.part([7, 2])
    assert part.task_names == ("digit 7", "digit 2") and part.name == "digits, 2 of 10 tasks"
    for name, split in part.splits.items():
        for new, old in enumerate([7, 2]):
            theirs = whole.splits[name]
            assert torch.equal(split.x[split.task == new], theirs.x[theirs.task == old])
            assert torch.equal(split.y[split.task == new], theirs.y[theirs.task == old])


def test_equal_parts_by_name_or_number_are_one_object():
    whole = load("digits")
    assert whole.part(["digit 7", 2]) is whole.part((7, "digit 2")) and whole.part([2, 7]) is not whole.part([7, 2])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "each once"),
        ([1, 1], "each once"),
        ([1, "digit 1"], "each once"),
        ([10], "no task 10.*0 to 9"),
        ([-1], "no task -1"),
        (["digt 3"], "Did you mean 'digit 3'"),
    ],
)
def test_an_impossible_part_is_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        load("digits").part(tasks)
