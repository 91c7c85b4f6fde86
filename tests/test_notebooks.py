"""The notebooks run and show what is stored in them."""

import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))


def shape_of(cell):
    """Return what a cell shows, with every number as #: processors may round differently."""
    texts = [output.get("text", "") for output in cell["outputs"]]
    pictures = sum("image/png" in output.get("data", {}) for output in cell["outputs"])
    return re.sub(r"-?\d+(\.\d+)?", "#", "".join(texts)).split(), pictures


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's packages are not ours
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_stored_in_it(notebook):
    nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="notebooks need nbclient and ipykernel")
    nbformat = pytest.importorskip("nbformat")
    stored = nbformat.read(notebook, as_version=4)
    executed = nbclient.NotebookClient(nbformat.read(notebook, as_version=4), timeout=300).execute()
    for before, after in zip(stored.cells, executed.cells, strict=True):
        if before.cell_type == "code":
            assert shape_of(after) == shape_of(before), before.source
