"""One prompt a sample for a whole run: rendered once, and the same at each step.

A chat template may print the date, so the prompt of a sample is another one tomorrow, and what the date does would read
as an effect of the training. The prompt of the first followed step serves the run, in memory and, with a store, on disk
(``prompts/NAME.json``), where it outlives the process. Models that write prompts alike share them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

from interact.formats.files import forget_partial, whole
from interact.prompt.template import Rendered, prints_the_time

_NAME = re.compile(r"[^\w.-]+")


class Prompts:
    """The prompts of a run.

    Args:
        store: A store's folder, None to keep them in memory alone.
        lock: What keeps other processes from a name meanwhile.
    """

    def __init__(
        self, store: Path | None = None, *, lock: Callable[[str], AbstractContextManager[Any]] | None = None
    ) -> None:
        self._folder = None if store is None else store / "prompts"
        self._lock = lock or (lambda name: nullcontext())
        self._known: dict[str, dict[str, Any]] = {}

    def fixed(self, sample: str, model: str, tokenizer: Any, fresh: Rendered) -> Rendered:
        """Return the prompt of a sample as it was first rendered.

        Args:
            sample: The sample's name, which nothing else in the store has.
            model: Which model is asked.
            tokenizer: What rendered the prompt.
            fresh: The prompt as it is rendered now.

        Raises:
            RuntimeError: The store cannot be written.
        """
        maker = sha256(str(getattr(tokenizer, "chat_template", None)).encode(errors="replace")).hexdigest()[:16]
        with self._lock(f"prompt-{self._file(sample)}"):
            known = self._read(sample)
            first = known.get(f"model {model}") or known.get(f"maker {maker}")
            if first is None:
                first = {"maker": maker, **fresh.record(), "notes": []}
            names = (f"model {model}", f"maker {first['maker']}")
            if any(name not in known for name in names):
                self._write(sample, {**dict.fromkeys(names, first), **known})
        if first["prompt"] == fresh.prompt:
            return fresh
        notes = fresh.notes
        if first["maker"] != maker or not prints_the_time(tokenizer):
            notes += (
                f"The prompt of the sample {sample!r} would now differ from the first one that was followed "
                "(another chat template); the first one is kept.",
            )
        return Rendered(first["prompt"], first["start"], tuple(first["content"]), first["chat"], notes)

    def _file(self, sample: str) -> str:
        digest = sha256(sample.encode(errors="replace")).hexdigest()[:12]
        return f"{_NAME.sub('-', sample)[:60]}-{digest}"

    def _read(self, sample: str) -> dict[str, Any]:
        """Return what is known of a sample; nothing where its file is damaged, which is then written anew."""
        if self._folder is None:
            return self._known.get(sample, {})
        try:
            content = json.loads((self._folder / f"{self._file(sample)}.json").read_text("utf-8-sig"))
            return content["prompts"] if content["sum"] == _sum(content["prompts"]) else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _write(self, sample: str, content: dict[str, Any]) -> None:
        self._known[sample] = content
        if self._folder is None:
            return
        path = self._folder / f"{self._file(sample)}.json"
        forget_partial(path)
        with whole(path, "A prompt") as place:
            place.write_text(json.dumps({"prompts": content, "sum": _sum(content)}), encoding="utf-8")


def _sum(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
