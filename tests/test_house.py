"""The house rules that a machine can check: arrows run one way, files stay small, names say something."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(p for room in ("interact", "kernels", "bench") for p in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_are_small_and_import_downwards(path):
    assert len(path.read_text().splitlines()) <= 500
    assert path.stem not in ("utils", "helpers", "misc", "common")
    roots = {name.split(".")[0] for name in imported(path)}
    # Below the repository's root: the folder of a clone may have any name, and that of a room too.
    inside = path.relative_to(ROOT)
    room = inside.parts[0]
    if room == "kernels":
        assert not roots & {"interact", "transformers"}
    if inside != Path("interact/cli.py"):
        assert "interact.cli" not in imported(path)
    if room == "interact":
        assert not roots & {"triton", "bench", "tests"}


def test_no_circle_between_the_files_of_interact():
    graph = {}
    modules = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in FILES if p.is_relative_to(ROOT / "interact")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    for name, path in modules.items():
        tree = ast.parse(path.read_text())
        # Imports for type checkers only draw no arrow.
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))]
        found = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        for n in ast.walk(tree):
            if isinstance(n, ast.ImportFrom) and n.module:
                inner = {f"{n.module}.{a.name}" for a in n.names} & set(modules)
                found |= inner or {n.module}
        graph[name] = found & set(modules) - {name, "interact"}

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above, name])
        for below in graph[name]:
            walk(below, (*above, name))

    for name in graph:
        walk(name, ())
