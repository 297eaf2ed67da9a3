"""Reads the pages of the documentation and runs their blocks, with Sybil.

1. Each page runs from top to bottom in one namespace and one empty folder, as a reader would follow it.
2. ``python`` blocks are executed; those that begin with ``>>>`` are doctests. What a page needs beside its text stands
   in comments: ``<!--- invisible-code-block: python``.
3. ``bash`` blocks are read by bash. Every ``interact`` of a block runs in this process afterwards, in its order, for a
   new process would load torch anew each time; nothing but files may be made by the other commands.
4. ``json`` and ``yaml`` blocks are parsed, and an object with the fields of a study must be a valid one.
5. ``<!--- skip: next "REASON" -->`` skips the next block; it is still checked for its syntax.
"""

from __future__ import annotations

import ast
import doctest
import importlib.util
import json
import re
import subprocess
import unittest
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from sybil import Example, Sybil
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

from interact.command import main as cli
from interact.study.config import StudyConfig, from_json

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# tests/docs/test_gallery.py runs these, and looks at what they print.
PAGES = [page for page in PAGES if page.parent.name != "gallery"]
LANGUAGES = ("python", "bash", "json", "yaml", "text")
SKIP = re.compile(r'<!-+ skip: next "(.*)" -+>')
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})(.*)\n(?:.*\n)*?[ \t]*(?:`{3,}|~{3,})[ \t]*$", re.MULTILINE)
_STUDY = {field.name for field in fields(StudyConfig)}
_RECORD = 'interact() { printf "%s\\0" "$@" $\'\\n\'; }\n'


@dataclass(frozen=True)
class Skipped:
    """A block that is not run."""

    page: str
    line: int
    reason: str


def loaded(name: str) -> Any:
    """Load a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def languages(page: Path) -> list[str]:
    """Return the language of every fenced block of a page."""
    return [match[1].strip() for match in _FENCE.finditer(page.read_text("utf-8"))]


def run_page(page: Path, known: dict[str, Any]) -> list[Skipped]:
    """Run a page in the current folder; raise where a block fails.

    Args:
        page: The file.
        known: What its blocks find in their namespace.

    Returns:
        The blocks that were only checked for their syntax.
    """
    document = _sybil().parse(page)
    document.namespace.update(known)
    skipped = []
    for example in document.examples():
        try:
            example.evaluate()
        except unittest.SkipTest as reason:
            _check_syntax(example)
            skipped.append(Skipped(page.name, example.line, str(reason)))
    return skipped


def _sybil() -> Sybil:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    others = [
        CodeBlockParser("bash", _run_bash),
        CodeBlockParser("json", lambda example: _check_json(example.parsed)),
        CodeBlockParser("yaml", lambda example: yaml.safe_load(example.parsed) and None),
    ]
    return Sybil([PythonCodeBlockParser(doctest_optionflags=flags), *others, SkipParser()])


def _run_bash(example: Example) -> None:
    for command in _commands(example.parsed):
        try:
            cli.main(command)
        except SystemExit as end:
            if end.code:
                raise AssertionError(f"`interact {' '.join(command)}` ended with the exit code {end.code}.") from end


def _commands(block: str) -> list[list[str]]:
    """Let bash run a block and return the arguments of each `interact` in it."""
    done = subprocess.run(["bash", "-euc", _RECORD + block], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"bash ended with the exit code {done.returncode}: {done.stderr.strip()}")
    return [line.split("\0")[:-1] for line in done.stdout.split("\n\0") if line]


def _check_json(text: str) -> None:
    found = json.loads(text)
    if isinstance(found, dict) and found.keys() & _STUDY:
        from_json(found)


def _check_syntax(example: Example) -> None:
    if isinstance(example.region.evaluator, DocTestEvaluator):
        ast.parse(example.parsed.source)
    elif example.region.lexemes.get("arguments") == "bash":
        subprocess.run(["bash", "-n"], input=str(example.parsed), text=True, check=True)
    else:
        ast.parse(example.parsed)
