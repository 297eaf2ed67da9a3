"""The tables of a study's store: their columns, types, categories and meaning, and the version that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interact.formats.schema.keys import Run

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "interact.study"
VERSION = 2
"""The version that is written: tables say model, data, seed and baseline, and cells are named by `CellKey.stem`."""
VERSIONS = (1, VERSION)
"""The versions that are read; `identify` gives tables of version 1 the columns they lack."""

KINDS = ("and", "or")
"""The two types of interactions."""
CLASSES = ("removed", "preserved", "emerged")
"""The classes an interaction can have at a step, in the order of every array of an evolution."""
STAGES = ("denoising_end", "overfitting_start")
"""The stages of a training, which are metrics at step -1."""
HYPOTHESES = ("removal_first", "removed_noise", "preserved_carry", "early_good", "late_bad", "not_noise")
"""What a study tests (docs/protocol.md)."""
VERDICTS = ("supported", "contradicted", "undecided", "untested")
AMONG = ("all", "certain")
"""Which salient interactions a verdict rests on."""
STATUSES = ("certain", "possible", "excluded", "undecided")
"""What all near-optimal splits say of an interaction (docs/split.md)."""
LABELS = ("noise-like", "overfitted", "helpful", "idle")
"""What a group of interactions is good for."""
SPLITS = ("follow", "train")
LOSSES = (
    "train_loss",
    *(
        f"{part}_{kind}"
        for part in ("validation", "test")
        for kind in ("label_loss", "end_loss", "response_loss", "accuracy")
    ),
)
"""What a training logs: stopping rules are chosen on the validation set and judged on the test set. The loss of a
response is the mean over the tokens of the label and the end-of-text token, which are two losses; logs from before they
were told apart have ``heldout_loss``, the mean over all held-out responses."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        kind: Its type: string, int64, Int64 (with missing values), uint64, float64, bool or list (of strings).
        meaning: One sentence.
        categories: What a string can be.
        open: A caller may make up further categories.
        needed: An evolution cannot be computed without it.
        finite: It holds no NaN and nothing infinite.
        blank: A store may lack it, or a value of it.
    """

    name: str
    kind: str
    meaning: str
    categories: tuple[str, ...] = ()
    open: bool = False
    needed: bool = True
    finite: bool = False
    blank: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: Its name, and that of its file.
        row: What one row is.
        columns: Its columns, in order; those that say which run it was come last.
        key: The columns in which no two rows are the same; empty where rows may repeat.
        missing: What a report lacks without it; empty where a report does not read it.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    missing: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that say which run a row is about, beside its name."""
        return tuple(column.name for column in self.columns if column in IDENTITY)


_RUN = Column("run", "string", "Name of the run: MODEL/DATA/seed-S, then /BASELINE if the configuration names one.")
_STEP = Column("step", "int64", "Step of the training; 0 is the model before it.")
_SAMPLE = Column("sample", "string", "Id of the followed sample.")
_KIND = Column("kind", "string", "Type of the interaction.", categories=KINDS)
_MASK = Column("mask", "uint64", "The players: bit i is player i.")
_CLASS = Column(
    "class",
    "string",
    "Class of the interactions; `all` for a figure of all classes together.",
    categories=(*CLASSES, "all"),
    open=True,
)

IDENTITY = (
    Column("model", "string", "Model, as the configuration names it; empty over several models."),
    Column("data", "string", "Data set, as the configuration names it; empty over several, or where none is known."),
    Column("seed", "Int64", "Seed of the training; missing over several seeds, or where none is known.", blank=True),
    Column("asked_baseline", "string", "Masking baseline of the configuration; `auto` for the model's own."),
)
"""What a run is, column by column."""


def _figure(name: str, meaning: str, *, needed: bool = True, finite: bool = False, blank: bool = False) -> Column:
    return Column(name, "float64", meaning, needed=needed, finite=finite, blank=blank)


def _change(split: str, words: str) -> tuple[Column, ...]:
    name = f"{split}_change"
    return (
        _figure(name, f"Mean change of the loss of {words} samples without the group, in nats."),
        _figure(f"{name}_low", "Lower end of its 95 % bootstrap interval."),
        _figure(f"{name}_high", "Upper end of its 95 % bootstrap interval."),
    )


_ALL = (
    Table(
        "interactions",
        "nonzero effect, order-1 OR merged into AND",
        (
            *(_RUN, _STEP, _SAMPLE, _KIND, _MASK),
            Column("order", "int64", "How many players there are."),
            _figure("effect", "The effect I(T).", finite=True),
            Column(
                "salient",
                "bool",
                "Whether it is salient: above the threshold of `tau` and `tau_rule` and the noise floor.",
            ),
            *IDENTITY,
        ),
        ("run", "step", "sample", "kind", "mask"),
        "no interaction can be listed",
    ),
    Table(
        "cells",
        "cell",
        (
            *(_RUN, _STEP, _SAMPLE),
            Column("n", "int64", "How many players there are."),
            _figure("bias", "Score v(empty) without any player.", finite=True),
            _figure("total", "Score v(N) with all players.", finite=True),
            _figure("primal", "Cost of the split that was found.", needed=False, blank=True),
            _figure("dual", "Lower bound of the least cost.", needed=False, blank=True),
            _figure("gap", "`primal` minus `dual`.", needed=False, blank=True),
            _figure(
                "moved",
                "Standard deviation over coalitions of the change of the scores since step 0.",
                needed=False,
                blank=True,
            ),
            _figure("seconds", "How long the extraction took.", needed=False, blank=True),
            Column("engine", "string", "How coalitions were scored.", needed=False, blank=True),
            Column("masking", "string", "What an absent player became.", needed=False, blank=True),
            Column(
                "baseline",
                "string",
                "What absent tokens became, such as `unk` for `auto`; empty under another masking.",
                needed=False,
                blank=True,
            ),
            Column("key", "string", "Name of the result's file in `cells/`, without its ending.", needed=False),
            *IDENTITY,
        ),
        ("run", "step", "sample"),
        "no prompt can be shown word by word, and no fidelity",
    ),
    Table(
        "samples",
        "sample",
        (
            _SAMPLE,
            Column("split", "string", "Held out, or trained on by every run.", categories=SPLITS, open=True),
            Column("text", "string", "The user's text."),
            Column("target", "string", "The response, whose first token is scored."),
            Column("players", "list", "The players' words."),
        ),
        ("sample",),
        "the texts are taken from the results themselves",
    ),
    Table(
        "losses",
        "logged loss",
        (
            Column("run", "string", "Name of the training: that of its run without a baseline."),
            _STEP,
            Column("name", "string", "Which loss.", categories=LOSSES, open=True),
            _figure("value", "The loss in nats, or the accuracy as a share."),
            *IDENTITY[:3],
        ),
        missing="no loss can be drawn",
    ),
    Table(
        "classes",
        "interaction, run and step",
        (
            *(_RUN, _STEP, _SAMPLE, _KIND, _MASK),
            Column("class", "string", "What became of the interaction.", categories=CLASSES),
            _figure("effect", "The effect: at step 0 for removed interactions, otherwise at the step.", finite=True),
            Column(
                "reemerged",
                "bool",
                "Whether it is salient at step 0 and now, but was not at a followed step between.",
                needed=False,
                blank=True,
            ),
            *IDENTITY,
        ),
        ("run", "step", "sample", "kind", "mask"),
        "interactions are not named removed, preserved or emerged",
    ),
    Table(
        "certainty",
        "step and interaction that is salient at any step of its run and sample, zero effects included",
        (
            *(_RUN, _STEP, _SAMPLE, _KIND, _MASK),
            _figure("effect", "The effect I(T).", finite=True),
            Column("salient", "bool", "Whether it is salient at this step, as in `interactions`."),
            Column(
                "status",
                "string",
                "Its status in the splits that cost at most 1 + `eps` times as much as this one.",
                categories=STATUSES,
            ),
            _figure("low", "Proven lower end of the effect over these splits."),
            _figure("high", "Proven upper end of it."),
            _figure("level", "The effect above which an interaction of this cell is salient, without the noise floor."),
            _figure("eps", "How much more such a split may cost, as a share."),
            Column("key", "string", "Name of the result's file in `cells/`, without its ending."),
            *IDENTITY,
        ),
        ("run", "step", "sample", "kind", "mask"),
        "it is unknown which interactions are certain",
    ),
    Table(
        "metrics",
        "figure, with its interval",
        (
            Column("run", "string", "Name of the run; MODEL/DATA/seeds over several seeds, `all` over all runs."),
            Column("step", "int64", "Step of the training; -1 for a figure of the whole run, such as a stage."),
            _CLASS,
            Column("name", "string", "Name of the figure, see `interact.evolution`."),
            _figure("value", "The figure."),
            _figure("low", "Lower end of its 95 % bootstrap interval over samples; NaN where there is none."),
            _figure("high", "Upper end of it."),
            *IDENTITY,
        ),
        ("run", "step", "class", "name"),
        "no figure over the steps, no stage and no control can be drawn",
    ),
    Table(
        "labels",
        "class, run and step: what dropping its interactions does (control `labels`)",
        (
            *(_RUN, _STEP, _CLASS),
            Column("label", "string", "What dropping the class does.", categories=LABELS),
            Column("certain", "bool", "Whether the intervals support the label."),
            *_change("training", "trained"),
            *_change("heldout", "held-out"),
            *IDENTITY,
        ),
    ),
    Table(
        "verdicts",
        "hypothesis of docs/protocol.md, tested over the runs of a setting that differ in their seed",
        (
            Column("run", "string", "MODEL/DATA/seeds, then /BASELINE if the configuration names one."),
            Column("hypothesis", "string", "Which one.", categories=HYPOTHESES),
            Column("verdict", "string", "The outcome.", categories=VERDICTS),
            _figure("value", "The statistic over all runs and samples; NaN where it was not tested."),
            _figure("low", "Lower end of its 95 % interval over runs and samples."),
            _figure("high", "Upper end of it."),
            _figure("error", "Its standard error, by the two-way bootstrap."),
            _figure("freedom", "Degrees of freedom of the error."),
            _figure("p", "Two-sided p-value."),
            _figure("p_holm", "The same, corrected by Holm over the hypotheses of the setting that were tested."),
            Column("runs", "int64", "How many runs there are."),
            Column("samples", "int64", "How many held-out samples they share."),
            Column("reason", "string", "Why it was not tested; empty where it was."),
            Column(
                "among",
                "string",
                "Which salient interactions count; missing in earlier stores, where it means `all`.",
                categories=AMONG,
                needed=False,
                blank=True,
            ),
            *IDENTITY,
        ),
        ("run", "hypothesis", "among"),
        "no hypothesis was judged",
    ),
)

TABLES = {table.name: table for table in _ALL}
"""The tables of a store, by name."""


def table_of(name: str) -> Table:
    """Return the schema of a table.

    Raises:
        ValueError: There is no such table.
    """
    if name not in TABLES:
        raise ValueError(f"There is no table {name!r} in a study; there are {', '.join(TABLES)}.")
    return TABLES[name]


def runs_in(table: pd.DataFrame) -> dict[str, Run]:
    """Return the runs that a table is about, by name; read from their names where it has no columns for them."""
    import pandas as pd

    columns = [column.name for column in IDENTITY]
    rows = table.loc[:, [c for c in ("run", *columns) if c in table.columns]].drop_duplicates("run")
    found = {}
    for row in rows.to_dict("records"):
        name = str(row["run"])
        known = Run.parse(name)
        model, data = (str(row.get(c, getattr(known, c))) for c in ("model", "data"))
        seed = row.get("seed", known.seed)
        seed = None if pd.isna(seed) else int(seed)
        run = Run(model, data, seed, str(row.get("asked_baseline", known.baseline)))
        found[name] = run if run.name == name else Run(run.model, run.data, run.seed, run.baseline, name)
    return found


def identify(table: pd.DataFrame, name: str, runs: Iterable[Run] = ()) -> pd.DataFrame:
    """Return a table with the columns that say which runs it is about; existing columns stay.

    Args:
        table: Rows with the column `run`.
        name: Which table it is.
        runs: What is known of the runs; of others, a run's name tells, as in stores of version 1.
    """
    import pandas as pd

    lacking = [column for column in IDENTITY if column.name in TABLES[name].identity and column.name not in table]
    if not lacking:
        return table
    known = {run.name: run for run in runs}
    codes, names = pd.factorize(table["run"])
    rows = [(known.get(str(one)) or Run.parse(str(one))).columns() for one in names]
    kinds = {"string": "str", "Int64": "Int64"}
    values = {c.name: pd.Series([row[c.name] for row in rows], dtype=kinds[c.kind]) for c in lacking}
    return table.assign(**{column: one.take(codes).set_axis(table.index) for column, one in values.items()})
