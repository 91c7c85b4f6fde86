import numpy as np
import pytest

from mtl_gym.core import figures as pictures
from mtl_gym.families.alignment import render
from mtl_gym.families.alignment.history import AssignmentHistory
from mtl_gym.families.alignment.joint import Locations

PLACES = Locations(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1]), ("0:a", "0:b", "1:a"))
NAMES = ["words", "pictures"]


@pytest.fixture
def history():
    history = AssignmentHistory(5, 4)
    for assignment in ([0, 1, 2, 3], [0, 1, 0, 3], [0, 0, 0, 3]):
        history.add(np.array(assignment))
    return history


def test_a_module_has_one_colour_everywhere_and_modules_differ():
    colours = render.colours_of(np.array([[0, 1], [1, 2]]))
    assert (colours[0, 1] == colours[1, 0]).all() and (colours >= 0).all() and (colours <= 1).all()
    assert len(np.unique(render.colours_of(np.arange(30)).round(3), axis=0)) == 30


def test_the_picture_over_time_has_a_column_per_generation(history):
    figure = render.over_time(history, PLACES, NAMES, "title")
    (image,) = figure.axes[0].images
    assert image.get_array().shape[:2] == (4, 3)
    assert (image.get_array()[:, 2] == render.colours_of(np.array([0, 0, 0, 3]))).all()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == NAMES


def test_the_picture_between_layers_shows_sharing(history):
    (image,) = render.between_layers(history.assignment[-1], PLACES, NAMES).axes[0].images
    shown = np.asarray(image.get_array())
    assert shown.shape == (3, 3) and shown[0, 1] == shown[1, 0] > 0


def test_the_picture_of_subsets_counts_modules_by_the_exact_set_of_tasks(history):
    axes = render.subsets(history, PLACES, NAMES).axes[0]
    curves = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert curves == {"words": [2, 1, 0], "pictures": [2, 1, 1], "words + pictures": [0, 1, 1]}


def test_all_pictures_can_be_drawn(history):
    for draw in (render.over_time, render.subsets):
        assert pictures.pixels(draw(history, PLACES, NAMES)).shape[2] == 3
    assert render.show("rgb_array", history, PLACES, NAMES).dtype == np.uint8
