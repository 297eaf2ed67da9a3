"""``python -m tests.faults.fuzz [NAME ...] [-runs=N]``: atheris (extra ``fuzz``) steers readers to new branches.

It begins with a whole file of each kind. Names are those of `tests.faults.readers`, and "players" for the way from
text to players; none means all. The other options are libFuzzer's own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

# Only what is imported in here can be steered through, so nothing of the project may be imported before.
with atheris.instrument_imports(include=["interact", "tests.faults.readers"]):
    from tests.faults.readers import READERS, map_players, read, whole_files, without_sums

_MOST = 1 << 14
"""Bytes of a file."""
_UNITS = ("words", "all-words", "sentences", "paragraphs", "marked")
_TEXT = "It's a witty, scathing film. “Caste” – à la 9.5/10!\n\nThe *end*."


def main(arguments: list[str]) -> None:
    """Run atheris in a child, since libFuzzer ends the process it is in, and remove its files."""
    names = [a for a in arguments if not a.startswith("-")] or [*READERS, "players"]
    if unknown := sorted({*names} - {*READERS, "players"}):
        sys.exit(f"{unknown[0]} is no reader; choose of {[*READERS, 'players']}.")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        child = os.fork()
        if not child:
            try:
                _fuzz(names, [a for a in arguments if a.startswith("-")], Path(folder))
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def _fuzz(names: list[str], options: list[str], folder: Path) -> None:
    corpus, whole = folder / "corpus", whole_files(folder)
    corpus.mkdir()
    for number, name in enumerate(names):
        # Numbers are taken from the end of the bytes in the order in which `one` asks for them; one name needs none.
        last = bytes([number] if len(names) > 1 else [])
        content = whole[name].read_bytes() if name in whole else _TEXT.encode() + bytes([0, 0, 0])
        (corpus / name).write_bytes(content + last)
        (corpus / f"{name}-without-sums").write_bytes(without_sums(content) + last)

    def one(data: bytes) -> None:
        given = atheris.FuzzedDataProvider(data)
        name = names[given.ConsumeIntInRange(0, len(names) - 1)]
        if name == "players":
            edges = given.ConsumeIntList(given.ConsumeIntInRange(0, 12), 1)
            unit, limit = _UNITS[given.ConsumeIntInRange(0, 4)], given.ConsumeIntInRange(0, 20) or None
            map_players(given.ConsumeUnicodeNoSurrogates(200), unit, limit, edges)
        else:
            read(name, given.ConsumeBytes(_MOST), folder)

    atheris.Setup([sys.argv[0], f"-max_len={_MOST + 1}", *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
