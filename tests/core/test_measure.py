"""What a measure refuses."""

import pytest

from mtl_gym.core.measure import Measure


@pytest.mark.parametrize(
    ("field", "value"),
    [*(("decimals", value) for value in (-1, 10, 2.5, True)), *(("name", value) for value in ("", 3, "two\nlines"))],
)
def test_what_no_table_can_show_is_refused(field, value):
    with pytest.raises(ValueError, match=rf"^{field}=.* is not possible; a measure takes"):
        Measure(**{"name": "loss", field: value})
