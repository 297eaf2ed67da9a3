"""Packages that only an extra of the distribution brings, and what to say where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "study": ("accelerate", "jinja2", "pandas", "peft", "pyarrow"),
    "embedded": ("accelerate", "gguf", "sentencepiece"),
    "hub": ("datasets",),
    "triton": ("triton",),
    "sparse": ("lightgbm", "sklearn"),
    "shapley": ("shapiq",),
    "shap": ("shap",),
    "words": ("icu4py",),
    "cluster": ("ray", "grpc"),
    "quantized": ("accelerate", "bitsandbytes"),
}
"""The modules that each extra must bring."""


class MissingPackage(ImportError, RuntimeError):
    """A package that only an extra brings is not installed."""


def missing(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def require(extra: str, what: str, *modules: str) -> None:
    """Make sure that packages are installed before they are imported.

    Args:
        extra: The extra that brings them.
        what: What needs them, as the subject of the sentence.
        modules: Those that are needed; all of the extra if none is named.

    Raises:
        MissingPackage: One is not there; the sentence says how to install it.
    """
    if lacking := [module for module in modules or EXTRAS[extra] if find_spec(module) is None]:
        verb = "is" if len(lacking) == 1 else "are"
        raise MissingPackage(
            f"{what} needs {' and '.join(lacking)}, which {verb} not installed; "
            f'run: pip install "interact-llm[{extra}]".'
        )
