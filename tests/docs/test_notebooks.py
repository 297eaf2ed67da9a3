"""The notebooks: what is committed was executed in order, is small, and runs again to the same kinds of output."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from interact.models import embedded

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook) -> list[list[str]]:
    """Return what each code cell left, as kinds of output: numbers may differ between machines."""
    return [
        [" ".join(sorted(output.get("data", {}))) or f"{output.output_type} {output.name}" for output in cell.outputs]
        for cell in code(notebook)
    ]


def test_there_are_two_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["first-extraction", "following-a-fine-tuning"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_was_executed_in_order_and_is_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 300_000
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    left = [kind for cell in kinds(notebook) for kind in cell]
    assert "text/html text/plain" in left and "image/png text/plain" in left
    assert not any("error" in kind or "stderr" in kind for kind in left)
    # Nothing of the machine that executed it.
    assert not re.search(r"/(tmp|home|root|usr|work|Users)/", path.read_text("utf-8"))


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    if embedded.find("smollm2") is None or embedded.find("reviews") is None:
        pytest.skip("SmolLM2 and the reviews are not in the cache; run `interact fetch smollm2 reviews`")
    notebook = nbformat.read(path, as_version=4)
    before = kinds(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds(notebook) == before
