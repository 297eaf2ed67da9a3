"""The schema of a study's store, stated once: the names of runs and cells, and the columns of every table.

Whoever writes or reads a store takes it from here, and the tables of docs/formats.md are made of it. Nothing here needs
torch; pandas is loaded by the functions that take a table.
"""

from interact.formats.schema.keys import CellKey, Run, fingerprint, short_name
from interact.formats.schema.tables import (
    AMONG,
    CLASSES,
    FORMAT,
    HYPOTHESES,
    IDENTITY,
    KINDS,
    LABELS,
    LOSSES,
    STAGES,
    STATUSES,
    TABLES,
    VERDICTS,
    VERSION,
    VERSIONS,
    Column,
    Table,
    identify,
    runs_in,
    table_of,
)

__all__ = [
    "AMONG",
    "CLASSES",
    "FORMAT",
    "HYPOTHESES",
    "IDENTITY",
    "KINDS",
    "LABELS",
    "LOSSES",
    "STAGES",
    "STATUSES",
    "TABLES",
    "VERDICTS",
    "VERSION",
    "VERSIONS",
    "CellKey",
    "Column",
    "Run",
    "Table",
    "fingerprint",
    "identify",
    "runs_in",
    "short_name",
    "table_of",
]
