"""Tiny random models of every family, as the script of docs/models.md makes them."""

import importlib.util
from pathlib import Path

_script = Path(__file__).parent.parent.parent / "docs" / "models.py"
_spec = importlib.util.spec_from_file_location("docs_models", _script)
assert _spec is not None and _spec.loader is not None
page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(page)
model_of = page.model_of
