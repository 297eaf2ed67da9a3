"""The curve of R^2 against budget for documents by sentences, with what `interact.sparse.outlook` expected of it.

::

    python -m bench.peers.curve --texts 2 --budgets 1 2       # resumable; rows are those of bench.peers.texts
"""

from __future__ import annotations

from bench.peers.tables import curve
from bench.peers.texts import parser, run


def main() -> None:
    """Score and fit what is missing, then print the curve."""
    made = parser()
    made.set_defaults(groups=["documents"], methods=["ours"], texts=5)
    given = made.parse_args()
    asked, dtypes = {"method": "ours", "judges": given.judges}, (given.dtype, "float64")
    rows = [row for row in run(given).known if row["group"] in given.groups and row["dtype"] in dtypes]
    print(curve([row for row in rows if asked.items() <= row.items()]))


if __name__ == "__main__":
    main()
