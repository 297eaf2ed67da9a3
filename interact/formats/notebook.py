"""How tables and results look in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PLAIN = "tex2jax_ignore mathjax_ignore"
"""Classes of what a notebook must not typeset: dollars and backslashes of a user's text are no formulas."""

STYLE = (
    "<style>.interact{font:14px/1.5 system-ui,sans-serif;max-width:60em}.interact mark{color:inherit;border-radius:3px;"
    "padding:1px 3px}.interact td{padding:1px 10px 1px 0;text-align:left}.interact td.num{text-align:right;"
    "font-variant-numeric:tabular-nums}.interact small{opacity:.7}</style>"
)


def table_html(caption: str, table: pd.DataFrame, *, index: bool = False) -> str:
    """Write a table as an HTML fragment under its caption; every text is escaped, NaN stays empty.

    Args:
        caption: What it shows, in one line.
        table: The table, of any columns.
        index: Whether to show its index.
    """
    options = {"escape": True, "na_rep": "", "border": 0, "justify": "left", "float_format": "{:.3f}".format}
    body = table.to_html(index=index, **options) if len(table) else ""
    body = body.replace("<td>", '<td dir="auto">')
    return f'{STYLE}<div class="interact {PLAIN}"><p dir="auto">{html.escape(caption)}</p>{body}</div>'
