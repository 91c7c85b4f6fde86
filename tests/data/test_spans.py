import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_gym.data.spans import Span, as_iobes, spans_of


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("", []),
        ("O O", []),
        ("B-A I-A O B-B", [("A", 0, 2), ("B", 3, 4)]),
        ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),
        ("I-A I-A B-A I-B", [("A", 0, 2), ("A", 2, 3), ("B", 3, 4)]),
        ("B-A I-A E-A S-A B-B E-B", [("A", 0, 3), ("A", 3, 4), ("B", 4, 6)]),
        ("O I-A", [("A", 1, 2)]),
        ("B-A I-B", [("A", 0, 1), ("B", 1, 2)]),
        ("S-A I-A", [("A", 0, 1), ("A", 1, 2)]),
        ("E-A E-A", [("A", 0, 1), ("A", 1, 2)]),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
    ],
)
def test_spans_of_each_scheme_are_decoded(tags, spans):
    assert spans_of(tags.split()) == [Span(*span) for span in spans]


@pytest.mark.parametrize("tag", ["A", "B", "B-", "X-A", "", "O-A"])
def test_an_unknown_tag_is_named(tag):
    with pytest.raises(ValueError, match=f"tag '{tag}' is unknown"):
        spans_of(["O", tag])


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=12))
def test_iobes_has_the_same_spans_and_is_idempotent(tags):
    marked = as_iobes(tags)
    assert len(marked) == len(tags)
    assert spans_of(marked) == spans_of(tags)
    assert as_iobes(marked) == marked
