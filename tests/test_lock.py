"""The lock: exact versions, of every package that the extras ask for, on every Python that is declared."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LINES = (ROOT / "requirements.lock").read_text().splitlines()
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def test_it_names_versions_and_no_place():
    assert "Python " + " ".join(PYTHONS) in LINES[0]
    for line in LINES[1:]:
        assert re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+( ; [\w'<>=!.*() ]+)?", line), line
        assert not re.match("torch=|nvidia-|cuda-", line), "torch and its libraries are chosen by TORCH"


@pytest.mark.parametrize("python", PYTHONS)
def test_it_holds_what_the_metadata_ask_for(python):
    place = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    place |= {"platform_machine": "x86_64", "implementation_name": "cpython", "os_name": "posix"}
    locked = {}
    for line in map(Requirement, LINES[1:]):
        if line.marker is None or line.marker.evaluate(place):
            assert locked.setdefault(line.name, line) is line, f"{line.name} has two versions"
    asked = [Requirement(text) for text in requires("interact-llm") or ()]
    extras = {match for text in requires("interact-llm") or () for match in re.findall(r"extra == [\"'](\w+)", text)}
    assert len(asked) > 20 and "dev" in extras
    for need in asked:
        if need.marker is None or any(need.marker.evaluate({**place, "extra": extra}) for extra in extras):
            name = canonicalize_name(need.name)
            if name != "torch":
                (exact,) = locked[name].specifier
                assert need.specifier.contains(exact.version), f"{need}, but {exact}: run `make lock`"
