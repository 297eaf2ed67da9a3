"""Quoting the errors of others in a sentence of ours."""

from __future__ import annotations

_LONGEST = 300


def gist(error: BaseException) -> str:
    """Return what matters of an error: its first line, with the next where that is only a heading; or its kind.

    >>> gist(RuntimeError("Error(s) in loading:\\n\\tsize mismatch for head"))
    'Error(s) in loading: size mismatch for head'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    count = 1
    while lines[count - 1].endswith(":") and count < len(lines):
        count += 1
    return " ".join(lines[:count])[:_LONGEST].rstrip(".:")
