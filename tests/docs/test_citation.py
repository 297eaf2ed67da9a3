"""CITATION.cff stays in step with what the package says of itself."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_citation_file_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    metadata = (ROOT / "pyproject.toml").read_text("utf-8")
    for field in ("version", "license"):
        assert str(citation[field]) == re.search(rf'^{field} = "(.*)"$', metadata, re.MULTILINE)[1]
    # What the schema of cff 1.2.0 demands of the file, of an author that is no person, and of a reference.
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"] == "interact"
    assert citation["authors"] == [{"name": "The interact developers"}] and citation["type"] == "software"
    (paper,) = citation["references"]
    assert {"authors", "title", "type"} <= set(paper)
    assert paper["url"] == "https://arxiv.org/abs/2605.17967" and paper["title"] in (ROOT / "README.md").read_text(
        "utf-8"
    ).replace("\n", " ")
