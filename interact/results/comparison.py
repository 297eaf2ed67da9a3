"""What differs between two models, by their results of the same texts.

Of one text, with v_a and v_b the scores of both models, sigma_a and sigma_b their noise, and d = v_b - v_a:

1. The split of the mean of both scores, weighed by their precision, says which interactions there are. That mean is
   independent of d where the noise is Gaussian.
2. d is written in these interactions, by the response of that split (`interact_kernels.sparsify.response`). Under the
   hypothesis that both models have the same scores each term is normal with a known deviation, so its p-value is
   uniform, whatever the split. The effects of b less those of a are compared with the same deviation.
3. The q-value bounds the share of false ones among all that have it or a smaller one, after Benjamini and Yekutieli
   2001, because the interactions of one split depend on each other in ways that nobody knows; Benjamini and Hochberg
   1995 need independent (or positively dependent) ones.
4. Noise apart, the effects of a and b differ if a number lies between them that no near-optimal split of either
   passes (`interact_kernels.sparsify.bounds`).

Over texts, Student's paired test of the effects of the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from interact.formats.extras import require
from interact.results.answers import Interaction
from interact.results.exact import ExactInteractions, Z
from interact.results.interactions import Interactions
from interact.results.summary import asked_of, effects_by_words, note_other_settings
from interact_kernels.sparsify import and_or_split, merge_order_one, response
from interact_kernels.sparsify.response import LARGEST

if TYPE_CHECKING:
    import pandas as pd

Control = Literal["by", "bh"]
Sigma = float | tuple[float, float]
CONTROLS = ("by", "bh")
BY = ("words", "text")
KINDS = ("and", "or")


def compare(
    a: Interactions | Iterable[Interactions],
    b: Interactions | Iterable[Interactions],
    *,
    by: str = "words",
    tau: float = 0.05,
    eps: float = 1e-4,
    sigma: Sigma | None = None,
    level: float = 0.05,
    control: Control = "by",
    order: int = 2,
    least: int = 3,
    time_limit: float = 600.0,
) -> pd.DataFrame:
    """Say which interactions differ between two models, beyond what other splits and noise explain.

    Args:
        a: The result of one text, or one for each of several texts, such as those of a checkpoint before training.
        b: Those of the other model: the same texts and players, in the same order.
        by: Of several texts, ``"words"`` to test the same words over texts, or ``"text"`` to compare each text's own
            interactions.
        tau: Interactions are compared that are stronger than this share of the strongest, in a or b.
        eps: How much more a near-optimal split may cost, relative.
        sigma: Standard deviation of independent noise of each score, one or one for each model; None for what was
            measured of half precision. Without noise there is no p-value of a single text.
        level: The largest share of false ones among those that are called certain.
        control: How the q-values bound it: ``"by"`` under any dependence (Benjamini and Yekutieli), ``"bh"`` where the
            interactions are independent (Benjamini and Hochberg).
        order: Most words of a row, by words.
        least: Fewest texts of a row, by words.
        time_limit: Seconds after which what is left is undecided.

    Returns:
        Of texts, one row per interaction, largest difference first: text (its place, of several), kind, mask, words,
        effect_a, effect_b, difference (b minus a), low and high (its bounds over near-optimal splits), noise (its
        standard error), p, q, and status: certain (it differs in all near-optimal splits and, where noise is known, by
        1.96 standard errors with a q of at most `level`), possible (it may not), undecided (out of time, or no
        difference to ask for). By words, the largest
        difference first: kind, words, order, texts, effect_a, effect_b and difference (means over texts), low and high
        (its 95 % interval), noise (its standard error), p, q.

    Raises:
        ValueError: The results do not belong together, an option is out of range, or a result of one text is sampled.

    >>> compare(before, after).query("status == 'certain'")  # doctest: +SKIP
    """
    require("study", "A comparison", "pandas")
    _check(by, control, level, order, least, eps, time_limit)
    pairs = _pairs(a, b)
    if by == "words" and not isinstance(a, Interactions):
        return _by_words(pairs, order, least, control)
    return _by_text(pairs, isinstance(a, Interactions), tau, eps, sigma, level, control, time_limit)


def _check(by: str, control: Control, level: float, order: int, least: int, eps: float, time_limit: float) -> None:
    for name, value, known in (("by", by, BY), ("control", control, CONTROLS)):
        if value not in known:
            raise ValueError(f"{name} is one of {' and '.join(map(repr, known))}, but is {value!r}.")
    if not (np.isfinite(eps) and eps >= 0 and time_limit >= 0):
        raise ValueError(f"eps and time_limit must be >= 0, but eps is {eps} and time_limit {time_limit}.")
    if not 0 < level < 1:
        raise ValueError(f"level is a share of false ones, between 0 and 1, but is {level}.")
    for name, count, lowest in (("order", order, 1), ("least", least, 2)):
        if count < lowest:
            raise ValueError(f"{name} is {count}, but must be at least {lowest}.")


def _listed(part: Any) -> list[Interactions]:
    found = [part] if isinstance(part, Interactions) or not isinstance(part, Iterable) else list(part)
    if not all(isinstance(one, Interactions) for one in found):
        raise ValueError(
            f"A comparison needs a result, or a list of results, of each model, but was given {part!r:.60}."
        )
    return found


def _pairs(a: Any, b: Any) -> list[tuple[Interactions, Interactions]]:
    """Return the results of each text side by side."""
    sides = [_listed(part) for part in (a, b)]
    if isinstance(a, Interactions) != isinstance(b, Interactions):
        raise ValueError("One side is a result and the other a list of results; pass two results, or two lists.")
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"Both models need the same texts, but there are {len(sides[0])} and {len(sides[1])} results.")
    if not sides[0]:
        raise ValueError("There are no results to compare; pass one for each text and model.")
    pairs = list(zip(*sides, strict=True))
    for place, (one, other) in enumerate(pairs):
        words = [[player.text for player in result.players] for result in (one, other)]
        if one.text != other.text or words[0] != words[1]:
            raise ValueError(
                f"The results at place {place} are of different texts or players: {words[0]} and {words[1]}; list the "
                "same texts in one order."
            )
        if (targets := [asked_of(result) for result in (one, other)])[0] != targets[1]:
            raise ValueError(
                f"The results at place {place} have different targets: {targets[0]} and {targets[1]}; extract them "
                "with the same one."
            )
    note_other_settings([result for pair in pairs for result in pair])
    return pairs


def _by_text(
    pairs: Sequence[tuple[Interactions, Interactions]],
    alone: bool,
    tau: float,
    eps: float,
    sigma: Sigma | None,
    level: float,
    control: Control,
    time_limit: float,
) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for place, (a, b) in enumerate(pairs):
        if not (isinstance(a, ExactInteractions) and isinstance(b, ExactInteractions)):
            raise ValueError(
                "A result of sampled coalitions has no certificate, so single texts are not compared; pass many texts "
                "and by='words', or extract with method='exact'."
            )
        parts.append(_one_text(a, b, tau, eps, _sigmas(a, b, sigma), time_limit / len(pairs)).assign(text=place))
    table = pd.concat(parts, ignore_index=True)
    table["q"] = corrected(table["p"].to_numpy(), control)
    apart = (table["low"] > 0) | (table["high"] < 0)
    # Where there is no noise, nothing is tested; noise that is known and could not be tested leaves it open.
    beyond = (table["noise"] == 0) | ((table["q"] <= level) & table["alike"])
    decided = np.where(apart & beyond, "certain", np.where(table["asked"] | apart, "possible", "undecided"))
    table = table.assign(status=decided).drop(columns=["asked", "alike"])
    table = table.sort_values("difference", key=np.abs, ascending=False, kind="stable", ignore_index=True)
    first = [] if alone else ["text"]
    return table[[*first, *(name for name in table.columns if name not in ("text", "q", "status")), "q", "status"]]


def _sigmas(a: ExactInteractions, b: ExactInteractions, sigma: Sigma | None) -> tuple[float, float]:
    if sigma is None:
        return a.noise_floor(0), b.noise_floor(0)
    both = tuple(sigma) if isinstance(sigma, (tuple, list)) else (sigma, sigma)
    if len(both) != 2 or not all(np.isfinite(s) and s >= 0 for s in both):
        raise ValueError(f"sigma is the standard deviation of a score's noise, at least 0, one or two, but is {sigma}.")
    return both


def _one_text(
    a: ExactInteractions, b: ExactInteractions, tau: float, eps: float, sigmas: tuple[float, float], time_limit: float
) -> pd.DataFrame:
    """Return one row for each interaction that is salient in a or b, or tested."""
    import pandas as pd

    if a.form != b.form:
        raise ValueError(f"The results were split with {a.form} and {b.form}; extract both alike.")
    effects = [np.stack(result.effects()) for result in (a, b)]
    difference = effects[1] - effects[0]
    shown = np.zeros(difference.shape, dtype=bool)
    for result in (a, b):
        for item in result.salient(tau):
            shown[KINDS.index(item.kind), item.mask] = True
    points = np.where(shown & (np.abs(difference) > 0), (effects[0] + effects[1]) / 2, np.nan)
    known = [result.bounds(points, eps, time_limit=time_limit / 2) for result in (a, b)]
    p, noise, moved = _p_values(a, b, shown, sigmas)
    rows = np.argwhere(shown)
    at = rows[:, 0], rows[:, 1]
    names = [_named(a, int(kind), int(mask)) for kind, mask in rows]
    columns = {
        "kind": [item.kind for item in names],
        "mask": at[1],
        "words": [" + ".join(item.words) for item in names],
        "effect_a": effects[0][at],
        "effect_b": effects[1][at],
        "difference": difference[at],
        "low": (known[1][0] - known[0][1])[at],
        "high": (known[1][1] - known[0][0])[at],
        "noise": noise[at],
        "p": p[at],
        # What is tested and what is shown may be far apart where the splits of a, b and their mean are.
        "alike": (np.isnan(moved) | ((moved * difference > 0) & (np.abs(difference) > Z * noise)))[at],
        "asked": np.isfinite(points)[at],
    }
    return pd.DataFrame(columns)


def _named(result: ExactInteractions, kind: int, mask: int) -> Interaction:
    words = tuple(player.text for i, player in enumerate(result.players) if mask >> i & 1)
    return Interaction(KINDS[kind], mask, words, 0.0)


def _p_values(
    a: ExactInteractions, b: ExactInteractions, shown: np.ndarray, sigmas: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each interaction's p-value, the standard error of its difference, and what was tested; [2, 2**n]."""
    # Here, because it takes a tenth of a second that `import interact` need not spend.
    from scipy.special import ndtr

    change = b.values - a.values
    change = change - change[0]
    same, unknown = 1.0 if not change.any() else np.nan, np.full(shown.shape, np.nan)
    deviation = float(np.hypot(*sigmas))
    if not deviation or a.n > LARGEST:
        return np.full(shown.shape, same), np.full(shown.shape, 0.0 if not deviation else np.nan), unknown
    share = sigmas[0] ** 2 / deviation**2
    mean = a.values + share * (b.values - a.values)
    split = merge_order_one(and_or_split(mean, noise="soft", kappa=a.form.kappa if a.form.soft else None))
    price = split.form.relative * abs(mean[-1] - mean[0])
    if not price:
        return np.full(shown.shape, same), np.full(shown.shape, np.nan), unknown
    answer = response(mean, np.stack([split.i_and, split.i_or]), price, also=shown, among=shown, change=change)
    noise = deviation * answer.size
    ratio = np.divide(np.abs(answer.moved), noise, out=np.zeros_like(noise), where=noise > 0)
    return 2 * ndtr(-ratio), noise, answer.moved


def corrected(p: np.ndarray, control: Control) -> np.ndarray:
    """Return the q-values of p-values, NaN where there is none."""
    # Here, because it takes half a second that `import interact` need not spend.
    from scipy.stats import false_discovery_control

    q, tests = np.full(p.shape, np.nan), np.isfinite(p)
    if tests.any():
        q[tests] = false_discovery_control(p[tests], method=control)
    return q


def _by_words(
    pairs: Sequence[tuple[Interactions, Interactions]], order: int, least: int, control: Control
) -> pd.DataFrame:
    import pandas as pd
    from scipy.stats import t

    found: dict[tuple[str, tuple[str, ...]], list[tuple[float, float]]] = {}
    for a, b in pairs:
        before, after = (effects_by_words(result, order, True) for result in (a, b))
        for key, effect in before.items():
            found.setdefault(key, []).append((effect, after[key]))
    rows = []
    for (kind, words), both in found.items():
        effects = np.array(both)
        if len(effects) < least or not effects.any():
            continue
        apart, count = effects[:, 1] - effects[:, 0], len(effects)
        mean, error = apart.mean(), apart.std(ddof=1) / np.sqrt(count)
        p = 2 * t.sf(abs(mean) / error, count - 1) if error else float(mean == 0)
        reach = t.ppf(0.975, count - 1) * error
        joined = (" & " if kind == "and" else " | ").join(words)
        rows.append((kind, joined, len(words), count, *effects.mean(0), mean, mean - reach, mean + reach, error, p))
    columns = ["kind", "words", "order", "texts", "effect_a", "effect_b", "difference", "low", "high", "noise", "p"]
    table = pd.DataFrame(rows, columns=pd.Index(columns))
    table["q"] = corrected(table["p"].to_numpy(dtype=np.float64), control)
    return table.sort_values("difference", key=np.abs, ascending=False, kind="stable", ignore_index=True)
