"""What names a run and a cell, and how a cell's key is written as a file name.

A run is one training of one model, followed under one masking baseline. A cell is one result: a run, a step, a sample.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

_LONGEST = 200
"""Bytes of a cell's file name; file systems allow 255, and one that is being written has a longer name."""


def short_name(name: str) -> str:
    """Make a path's or hub id's last part a part of a run's name."""
    return name.rstrip("/").rsplit("/", 1)[-1].replace(":", "-")


def fingerprint(content: Any) -> str:
    """Hash a JSON value: 16 hexadecimal digits; what JSON does not know counts as its text."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """One training of one model, followed under one masking baseline.

    Attributes:
        model: As the configuration names it; empty where several are meant.
        data: As the configuration names it; empty where it is not known or several are meant.
        seed: Seed of the examples, their order and the adapter's start; None where several are meant or none is known.
        baseline: The masking baseline that is asked for; ``"auto"`` for the model's own.
        alias: The run's name, where it is not made of the above; else None.

    >>> Run("Qwen/Qwen2.5-7B", "reviews", 1, "token:5").name
    'Qwen2.5-7B/reviews/seed-1/token-5'
    """

    model: str
    data: str = ""
    seed: int | None = None
    baseline: str = "auto"
    alias: str | None = None

    @property
    def training(self) -> str:
        """Name of the training, shared by the baselines under which it is followed."""
        if self.alias is not None:
            return self.alias
        seed = "seeds" if self.seed is None else f"seed-{self.seed}"
        return f"{short_name(self.model)}/{short_name(self.data)}/{seed}"

    @property
    def name(self) -> str:
        """Name in the column `run` of the tables."""
        if self.alias is not None or self.baseline == "auto":
            return self.training
        return f"{self.training}/{short_name(self.baseline)}"

    @property
    def over_seeds(self) -> Run:
        """What this run and those that differ from it in their seed only are together."""
        together = Run(self.model, self.data, None, self.baseline)
        if self.alias is None:
            return together
        # A name that was not made here may hold the whole name of the model, which tells models apart.
        behind = f"/{short_name(self.second_baseline)}" if self.second_baseline else ""
        return together._called(f"{self.model}/{self.data}/seeds{behind}")

    @property
    def second_baseline(self) -> str:
        """The baseline where it is named; empty for the model's own."""
        return "" if self.baseline == "auto" else self.baseline

    @property
    def short_model(self) -> str:
        """The last part of the model's name."""
        name = self.model or self.alias or ""
        return short_name(name) or name

    @property
    def label(self) -> str:
        """The run in words."""
        parts = [short_name(self.data), "" if self.seed is None else f"seed {self.seed}"]
        parts.append(self.second_baseline and f"baseline {self.second_baseline}")
        return ", ".join([self.short_model, *(part for part in parts if part)])

    def columns(self) -> dict[str, Any]:
        """Return what the tables hold of a run beside its name."""
        return {"model": self.model, "data": self.data, "seed": self.seed, "asked_baseline": self.baseline}

    @classmethod
    def parse(cls, name: str) -> Run:
        """Read the name of a run in a table that has nothing but the name, as those of version 1.

        A name of another form is its own model; ``"all"`` is about all models.

        >>> Run.parse("org/tiny/reviews/seed-1/eos")
        Run(model='org/tiny', data='reviews', seed=1, baseline='eos', alias='org/tiny/reviews/seed-1/eos')
        """
        parts = name.split("/")
        # A model's name may hold slashes (an organisation of the hub, a folder), so the last seed is the landmark.
        for at in range(len(parts) - 1, 1, -1):
            known, seed = _seed(parts[at])
            if known and parts[at - 1] and parts[at + 1 :] != [""] and (model := "/".join(parts[: at - 1])):
                baseline = "/".join(parts[at + 1 :]) or "auto"
                if baseline.startswith("token-"):
                    baseline = baseline.replace("-", ":", 1)
                return cls(model, parts[at - 1], seed, baseline)._called(name)
        return cls("" if name == "all" else name, alias=name)

    def _called(self, name: str) -> Run:
        """Return the run under the name that a table gives it."""
        return self if self.name == name else Run(self.model, self.data, self.seed, self.baseline, name)


def _seed(part: str) -> tuple[bool, int | None]:
    digits = part.removeprefix("seed-")
    if digits != part and digits.isascii() and digits.isdigit():
        return True, int(digits)
    return part == "seeds", None


@dataclass(frozen=True)
class CellKey:
    """What a cell is: its place in a study, and the hash of all that decides its result.

    The place is for people; two cells are the same where `content` is. A cell that is the same in several runs, such as
    the model before training, names neither data nor seed.

    Attributes:
        content: Hash of all that decides the result.
        model: As in a run's name.
        data: As in a run's name; empty where several trainings share the cell, or none is known.
        seed: Seed of the run; None likewise.
        baseline: The masking baseline that is asked for.
        step: Step of the training.
        sample: The sample's id.

    >>> CellKey.of(Run("smollm2", "reviews", 0), 64, "reviews-17", decided_by=["..."]).stem
    'smollm2,reviews,seed-0,auto,step-64,reviews-17,d29dce44599400e9'
    """

    content: str
    model: str = ""
    data: str = ""
    seed: int | None = None
    baseline: str = ""
    step: int = 0
    sample: str = ""

    @classmethod
    def of(cls, run: Run, step: int, sample: str, *, decided_by: Any, shared: bool = False) -> CellKey:
        """Make the key of a cell.

        Args:
            run: The run.
            step: The step.
            sample: The sample's id.
            decided_by: All that decides the result, as JSON holds it.
            shared: The cell is the same in every training of the model.
        """
        data, seed = ("", None) if shared else (short_name(run.data), run.seed)
        return cls(fingerprint(decided_by), run.short_model, data, seed, run.baseline, step, sample)

    @property
    def stem(self) -> str:
        """The name of the cell's file, without ``.interactions``; `content` alone where the name would be too long."""
        seed = "" if self.seed is None else f"seed-{self.seed}"
        parts = (self.model, self.data, seed, self.baseline, f"step-{self.step}", self.sample, self.content)
        name = ",".join(quote(part, safe="", errors="surrogatepass") for part in parts)
        return self.content if self == CellKey(self.content) or len(name) > _LONGEST else name

    @classmethod
    def parse(cls, stem: str) -> CellKey:
        """Read what `stem` wrote; a name without commas is `content` alone, as in stores of version 1.

        Raises:
            ValueError: It is not the name of a cell.

        >>> CellKey.parse("smollm2,,,auto,step-0,reviews-17,d29dce44599400e9").step
        0
        """
        parts = [unquote(part, errors="surrogatepass") for part in stem.split(",")]
        if len(parts) == 1:
            return cls(parts[0])
        step = parts[4].removeprefix("step-") if len(parts) == 7 else ""
        known, seed = _seed(parts[2]) if step.isdecimal() else (False, None)
        if not step.isdecimal() or (parts[2] and not known):
            raise ValueError(
                f"The cell {stem!r} must be named MODEL,DATA,seed-S,BASELINE,step-N,SAMPLE,HASH; restore its name."
            )
        return cls(parts[6], parts[0], parts[1], seed, parts[3], int(step), parts[5])
