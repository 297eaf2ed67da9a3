"""How one result looks: a table in the terminal, HTML in a notebook, a matplotlib figure."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from interact.formats.labels import shortened, told_apart, written
from interact.formats.notebook import PLAIN, STYLE
from interact.results.parts import parts_of

if TYPE_CHECKING:
    import pandas as pd

    from interact.results.answers import Interaction
    from interact.results.interactions import Interactions

_SECONDS = 3.0
"""What a display may take to say what is certain; `certainty` takes its time."""
_STATUSES: WeakKeyDictionary[Interactions, dict[tuple[str, int], str]] = WeakKeyDictionary()
_SIGNS = {"and": " & ", "or": " | "}


def formulas(result: Interactions, found: Sequence[Interaction], width: int | None = None) -> list[str]:
    """Write interactions as words, such as ``not & bad`` or ``witty | gorgeous``, no two alike.

    Args:
        result: What they are of; mentions of one word are numbered.
        found: The interactions.
        width: About how many signs a line may take; None for any. Long words are cut in their middle.
    """
    names = told_apart([player.text for player in result.players])
    whole = [[names[i] for i in sorted(item.members)] for item in found]
    lines = [_SIGNS[item.kind].join(words) for item, words in zip(found, whole, strict=True)]
    if width is None:
        return lines
    short = [
        _SIGNS[item.kind].join(shortened(word, max(8, (width - 3 * len(words) + 3) // len(words))) for word in words)
        for item, words in zip(found, whole, strict=True)
    ]
    # Cut to the same letters, they are shown whole.
    return told_apart([line if short.count(cut) > 1 else cut for line, cut in zip(lines, short, strict=True)])


def as_text(result: Interactions, k: int = 10) -> str:
    """Write a result as a table of its k strongest interactions."""
    known = statuses(result)
    lines = [shortened(result.text, 100), _summary(result), ""]
    found = result.top(k)
    longest = max((abs(i.effect) for i in found), default=1.0)
    for item, words in zip(found, formulas(result, found, 70), strict=True):
        bar = "█" * max(1, round(12 * abs(item.effect) / longest))
        status = f"{known.get((item.kind, item.mask), ''):<9}  " if known else ""
        effect = f"{written(item.effect, longest, '+'):>9}{_error(item, longest)}"
        lines.append(f"  {effect}  {item.kind:<3}  {bar:<12}  {status}{words}")
    if not result.top(1):
        lines.append("  no interactions: the score does not depend on the players")
    lines += ["", str(result.fidelity(result.display_tau)), *remarks(result)]
    if (tree := parts_of(result)) is not None:
        lines += ["", *tree.lines()]
    # A text may hold escape sequences, which a terminal would obey.
    return "".join(c for c in "\n".join(lines) if c in "\n\u200c\u200d" or c.isprintable())


def as_html(result: Interactions, k: int = 10) -> str:
    """Write a result as an HTML fragment; every text of the user is escaped."""
    known = statuses(result)
    strengths = {next(iter(term)): effect for term, effect in result.and_terms.items() if len(term) == 1}
    longest = max((abs(i.effect) for i in result.top(1)), default=1.0)
    parts, last = [], 0
    for number, player in enumerate(result.players):
        effect = strengths.get(number, 0.0)
        parts.append(html.escape(result.text[last : player.chars[0]]))
        colour = (
            f"rgba({'30,110,220' if effect >= 0 else '215,60,40'},{0.12 + 0.6 * min(1.0, abs(effect) / longest):.2f})"
        )
        parts.append(
            f'<mark style="background:{colour}{_edge(known, number)}" title="alone: {written(effect, longest, "+")}'
            f'{_said(known, "and", 1 << number)}">{html.escape(player.text)}</mark>'
        )
        last = player.chars[1]
    parts.append(html.escape(result.text[last:]))
    found, below = result.top(k), [str(result.fidelity(result.display_tau)), *remarks(result)]
    rows = "".join(
        f'<tr{_pale(known, i)}><td class="num">{written(i.effect, longest, "+")}{_error(i, longest)}</td>'
        f'<td>{i.kind.upper()}</td>{_cell(known, i)}<td dir="auto">{html.escape(words)}</td></tr>'
        for i, words in zip(found, formulas(result, found), strict=True)
    )
    return (
        f'{STYLE}<div class="interact {PLAIN}"><p dir="auto">{"".join(parts)}</p><p dir="auto">'
        f"<small>{html.escape(_summary(result))}{_legend(known)}</small></p>"
        f"<table>{rows}</table><p><small>{'<br>'.join(map(html.escape, below))}</small></p>{parts_html(result)}</div>"
    )


def figure(result: Interactions, found: Sequence[Interaction], orders: pd.DataFrame) -> Any:
    """Draw bars of interactions beside the sums of effects of each order."""
    # Imported late: most results are never drawn.
    from interact.formats.fonts import QuietFigure, fit_fonts

    picture = QuietFigure(figsize=(10, 0.6 + 0.34 * max(4, len(found))), layout="constrained")
    bars, sums = picture.subplots(1, 2, width_ratios=[2, 1])
    blue, red = "#1e6edc", "#d73c28"
    known = statuses(result)
    heights = [i.effect for i in found][::-1]
    names = [_plain(words) for words in formulas(result, found, 44)][::-1]
    drawn = bars.barh(range(len(found)), heights, color=[blue if h >= 0 else red for h in heights])
    for bar, item in zip(drawn, list(found)[::-1], strict=True):
        if known.get((item.kind, item.mask), "certain" if not known else "") != "certain":
            # Pale and dashed, so that a print without colours shows it too.
            colour = bar.get_facecolor()
            bar.set(facecolor=(*colour[:3], 0.3), edgecolor=colour, linestyle="--", linewidth=1.0)
    bars.set_yticks(range(len(found)), names)
    bars.axvline(0, color="#888", linewidth=0.8)
    bars.set_xlabel(f"effect on the {unit_of(result)} of the answer")
    picture.suptitle(_plain(shortened(result.text, 90)))
    if known:
        bars.set_title(f"{_certain(known)}; the others are pale and dashed", fontsize="medium")
    for sign, colour in (("positive", blue), ("negative", red)):
        both = orders[f"and_{sign}"] + orders[f"or_{sign}"]
        sums.bar(orders.index, orders[f"and_{sign}"], color=colour, label="AND" if sign == "positive" else None)
        sums.bar(orders.index, both - orders[f"and_{sign}"], bottom=orders[f"and_{sign}"], color=colour, alpha=0.45)
    sums.axhline(0, color="#888", linewidth=0.8)
    sums.set_xticks(orders.index)
    sums.set_xlabel("order (light: OR)")
    sums.set_ylabel("sum of effects")
    fit_fonts(picture, stacklevel=4)
    return picture


def statuses(result: Interactions) -> dict[tuple[str, int], str]:
    """Return what is certain of the salient interactions of a result, as far as a few seconds say.

    Empty where nothing is certified.
    """
    if result not in _STATUSES:
        try:
            _STATUSES[result] = result.statuses(time_limit=_SECONDS)
        except ValueError:
            # A result without a certificate, or of before its form was recorded, is shown without.
            _STATUSES[result] = {}
    return _STATUSES[result]


def remarks(result: Interactions) -> list[str]:
    """Return sentences on what limits a result."""
    said = []
    if more := result.provenance.get("outlook"):
        expected = ", ".join(f"{r2:.2f} from {m:,}" for m, r2 in zip(more["budgets"][1:], more["r2"][1:], strict=True))
        said.append(
            f"the leave-one-out R^2 of all scores is about {more['r2'][0]:.2f}; with more scores expect "
            f"about {expected}"
        )
    if spread := float(result.provenance.get("spread") or 0.0):
        share = 1 - (spread / max(float(result.values.std()), spread)) ** 2
        said.append(
            f"the scores are random: one differs by {spread:.3g} from call to call (standard deviation), which the "
            f"errors hold; no fit can explain more than R^2 {share:.2f} of single scores"
        )
    return said


def parts_html(result: Interactions) -> str:
    """Write the tree of a document's parts as an HTML fragment; empty for results without one."""
    tree = parts_of(result)
    return "" if tree is None else f'<ul class="parts">{tree.html()}</ul>'


def _certain(known: Mapping[tuple[str, int], str]) -> str:
    sure = sum(status == "certain" for status in known.values())
    return f"{sure} of {len(known)} salient interactions are certain"


def _said(known: Mapping[tuple[str, int], str], kind: str, mask: int) -> str:
    return f", {known[kind, mask]}" if (kind, mask) in known else ""


def _edge(known: Mapping[tuple[str, int], str], player: int) -> str:
    status = known.get(("and", 1 << player))
    return "" if status is None else f";border-bottom:2px {'solid' if status == 'certain' else 'dashed'}"


def _legend(known: Mapping[tuple[str, int], str]) -> str:
    words = "; a word underlined in full is certain on its own, a dashed one is not" if known else ""
    return html.escape(words)


def _pale(known: Mapping[tuple[str, int], str], item: Interaction) -> str:
    return "" if known.get((item.kind, item.mask), "certain") == "certain" else ' style="opacity:.6"'


def _cell(known: Mapping[tuple[str, int], str], item: Interaction) -> str:
    return f"<td>{known.get((item.kind, item.mask), '')}</td>" if known else ""


def _plain(text: str) -> str:
    # Dollar signs in a user's text would start mathematics.
    return text.replace("$", r"\$")


def _error(item: Interaction, largest: float) -> str:
    return "" if item.error is None else f" ± {written(item.error, largest)}"


def answer_asked(result: Interactions, mark: Callable[[str], str] = repr) -> str:
    """Say which answer was scored, and against which others; empty where nothing is known of it."""
    found = [result.provenance.get(name) for name in ("target", "contrast")]
    target, contrast = (part if isinstance(part, Mapping) else {} for part in found)
    if not target.get("text"):
        return ""
    against = ", ".join(mark(str(text)) for text in contrast.get("texts", ()))
    unit = unit_of(result)
    named, token = mark(str(target["text"])), result.provenance.get("token")
    if isinstance(token, Mapping) and "index" in token:
        named = f"{mark(str(token.get('text')))} (token {int(token['index']) + 1} of {named})"
    return named + (f" against {against}" if against else "") + (f" ({unit})" if unit != "log-odds" else "")


def unit_of(result: Interactions) -> str:
    """Name what is explained: log-odds of a model, another score of it, or just a score, of a function of masks."""
    score = result.provenance.get("score")
    if isinstance(score, Mapping) and score.get("name"):
        return str(score.get("name"))
    return "log-odds" if "model" in result.provenance else "score"


def _summary(result: Interactions) -> str:
    asked = answer_asked(result)
    known = statuses(result)
    largest = max(abs(result.total), abs(result.empty), result.strength)
    return (
        (f"{_certain(known)}; " if known else f"{len(result.salient())} salient interactions; ")
        + f"v(all) = {written(result.total, largest, '+')}, v(none) = {written(result.empty, largest, '+')}"
        + (f" for {asked}" if asked else "")
        + f"; {result.n} players; L1 {written(result.strength, largest)}, {result.evidence}"
    )
