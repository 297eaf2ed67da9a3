"""The main verb for many players: a value function in, its AND-OR interactions out.

1. Hold out coalitions of density 1/2 and of all densities; they are scored first and never fitted.
2. In rounds, score a part of the budget, fit (`interact.sparse.recovery`), and stop when the held-out scores are
   explained. Each round begins with the terms of the one before.
3. Where all coalitions of few players were scored and the terms do not rebuild them, take the certified split of all
   scores instead (`interact.sparse.complete`); nothing is held out of it and nothing is left to chance.
4. Bootstrap the terms; return them as `SampledInteractions`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from interact.formats.progress import Progress
from interact.prompt.players import Player
from interact.results import SampledInteractions, Terms
from interact.sparse.asking import Asking, check_same, score, spread
from interact.sparse.complete import EXPLAINED, MOST_PLAYERS, complete, explained
from interact.sparse.design import DESIGNS, distinct, draw
from interact.sparse.dictionary import Term
from interact.sparse.outlook import measured, outlook
from interact.sparse.recovery import ESTIMATORS, Recovered, Sample, predictive
from interact.sparse.scores import Interrupted, ScoreCache, Value
from interact.sparse.stability import bootstrap, with_spread

Known = tuple[np.ndarray, np.ndarray]
"""Coalitions, bool [m, n], and their scores, float [m]."""
_ROUNDS = (0.5, 0.75, 1.0)
_MORE_ROUNDS = (0.125, 0.1875, 0.25, 0.375, *_ROUNDS)
_FEW = 0.99
"""To explain this much or more takes few strong terms: many weak ones that do may yet turn into few."""
_MOST_HELD_OUT = 512
_POOL, _MOST_CHOSEN = 400, 600
"""Coalitions are chosen from so many more than are needed; the time grows with the cube of how many are chosen."""
_WANTING, _MOST_OF_AN_OUTLOOK = 0.9, 1000
"""Below this R^2 a result says what to expect of more scores; with more scores than these that takes seconds."""
_MOST_PLAYERS_OF_A_CHOICE = 20
"""With more, those of a pool hardly differ in what they tell."""


@dataclass(frozen=True)
class SparseOptions(Asking):
    """How coalitions are sampled and terms are sought; and how the value function is asked, see `Asking`.

    Attributes:
        design: ``"uniform"``, ``"mixed"``, ``"two-sided"`` or ``"balanced"``, see `interact.sparse.design`; ``"auto"``
            is uniform with up to 20 players, mixed with more.
        paired: Whether every coalition comes with its complement.
        shared: Size of the groups of coalitions with a shared beginning, a power of two; 1 for none. The coalition
            tree scores large groups faster; the terms are found from fewer independent draws.
        proxy: Whether boosted trees (LightGBM) name candidates too; None uses them where LightGBM is installed.
        stop: Stop before the budget is spent when this share of the held-out variance is explained; above 1 never. With
            0.99 and more only few terms end the rounds, for many weak ones may yet turn into few. With less, such as
            0.8, there are more rounds, and a Gaussian process is judged as by `outlook`, which is steadier.
        bootstraps: Number of bootstrap fits for error bars and stability; 0 for none.
        estimator: What explains scores that no few terms explain: ``"auto"`` takes a Gaussian process, alone or on what
            the terms leave, whichever predicts better; ``"gaussian"`` it alone, without a search; ``"terms"`` a lasso
            and shrunk effects.
        adaptive: Whether a Gaussian process says which coalitions a later round scores: those that reduce the variance
            of all scores most. Only with up to 20 players, and of uniform or mixed, independent coalitions.
    """

    design: str = "auto"
    paired: bool = False
    shared: int = 1
    proxy: bool | None = None
    stop: float = 0.999
    bootstraps: int = 20
    estimator: str = "auto"
    adaptive: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.design not in ("auto", *DESIGNS):
            raise ValueError(f"design={self.design!r} is not known; choose one of {['auto', *DESIGNS]}.")
        if not _whole(self.shared) or self.shared < 1 or self.shared & (self.shared - 1):
            raise ValueError(f"shared must be a power of two, such as 1, 4 or 8, but is {self.shared!r}.")
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"estimator={self.estimator!r} is not known; choose one of {list(ESTIMATORS)}.")
        if not _whole(self.bootstraps) or self.bootstraps < 0:
            raise ValueError(f"bootstraps must be a whole number, 0 or more, but is {self.bootstraps!r}.")
        if not isinstance(self.stop, Real) or math.isnan(self.stop):
            raise ValueError(f"stop must be a share of the variance, such as 0.999, but is {self.stop!r}.")


def least_budget(n: int) -> int:
    """Return the fewest coalitions that a design of n players needs: all of them, or 4 n + 16."""
    return min(1 << min(n, 62), 4 * n + 16)


def usual_budget(n: int) -> int:
    """Return 8 n log2(n) coalitions, but no more than there are and no fewer than are needed."""
    return max(least_budget(n), min(1 << min(n, 62), math.ceil(8 * n * math.log2(max(n, 2)))))


def explain(
    value: Value,
    n: int,
    *,
    budget: int | None = None,
    max_order: int = 4,
    seed: int = 0,
    options: SparseOptions | None = None,
    cache: ScoreCache | str | Path | None = None,
    known: Known | None = None,
    players: Sequence[Player] | None = None,
    text: str = "",
    progress: bool | Progress | None = None,
) -> SampledInteractions:
    """Find the AND-OR interactions of a value function of any number of players from sampled coalitions.

    phi(S) = bias + sum_{T subset S} and_terms[T] + sum_{T meets S} or_terms[T], with few terms T of at most `max_order`
    players. Effects of single players are AND terms.

    Args:
        value: What to explain: bool [m, n] (which players are present) -> float [m].
        n: Number of players.
        budget: Most coalitions to score, held-out ones included; None for 8 n log2(n).
        max_order: Most players of a term. When all coalitions of up to 10 players were scored and no such terms explain
            99.9 % of their variance, terms of all orders that rebuild every score are returned.
        seed: Seed of all draws; the same seed asks for the same coalitions.
        options: Design, proxy, stopping, error bars, batches, retries; see `SparseOptions`.
        cache: Where scores are kept: a `ScoreCache`, or a file that an interrupted run resumes from. Four of the scores
            in it are scored again and compared, so that those of another function are refused.
        known: Coalitions (bool [m, n]) and their scores (float [m]), to be fitted in addition to the budget. They may
            be of any design. Four are scored again; if one differs by a quarter of their spread, all are left out with
            a warning.
        players: Names of the players; numbers by default.
        text: The text the players are in.
        progress: Show a bar with the time left, and tell the cost of a long run after its first batch; None shows them
            on a terminal.

    Returns:
        The interactions in sparse form: `and_terms`, `or_terms`, `predict(masks)`, `fidelity()` on held-out coalitions,
        an error and a stability of each term. Where the value function is random, `provenance["spread"]` is the
        standard deviation of one score, measured on coalitions scored twice; no error is smaller than it allows.

    Raises:
        ValueError: A budget below the least, an impossible n, order, seed or option, a cache of another function, or a
            function that fails for most coalitions. For some, they are left out with a warning that names the first.
        RuntimeError: A function that no longer answers; the scores so far are in the cache.
        Interrupted: Ctrl-C; its `scores` can be passed on as `cache`.

    Source: the design and the recovery are ours; see `interact.sparse.recovery` for what they build on.

    >>> import numpy as np
    >>> found = explain(lambda masks: 2.0 * masks[:, [1, 4]].all(1) - masks[:, [0, 2, 5]].any(1), 30, budget=600)
    >>> sorted(next(iter(found.and_terms))), sorted(next(iter(found.or_terms)))
    ([1, 4], [0, 2, 5])
    """
    options = options or SparseOptions()
    if not isinstance(options, SparseOptions):
        raise ValueError(f"options must be interact.sparse.SparseOptions(...), but is {options!r:.60}.")
    budget = checked_budget(n, budget, max_order, seed, players)
    n, max_order, seed = int(n), int(max_order), int(seed)
    # There are no more coalitions to score.
    budget = min(budget, 1 << min(n, 62))
    if options.design == "auto":
        options = replace(options, design="uniform" if n <= _MOST_PLAYERS_OF_A_CHOICE else "mixed")
    named = tuple(players) if players is not None else tuple(Player(f"player {i}", (0, 0), (0, 0)) for i in range(n))
    kept = cache if isinstance(cache, ScoreCache) else ScoreCache(cache)
    kept.open(n)
    proxy = find_spec("lightgbm") is not None if options.proxy is None else options.proxy
    fitted = {"max_order": max_order, "seed": seed, "proxy": proxy, "estimator": options.estimator}
    try:
        check_same(value, kept, options)
        with Progress.of(progress) as watch:
            sampled = _sampled(value, n, budget, options, kept, known, fitted, watch)
        random = spread(value, kept, options, np.random.default_rng((seed, 2)))
        sample, tested, found, reached, given = sampled
        rng, times = np.random.default_rng((seed, 1)), options.bootstraps
        every = sample.joined(tested)
        if n <= MOST_PLAYERS and len(every) == 1 << n and explained(found, every) < EXPLAINED:
            found, sample, tested, times = complete(every, max_order=max_order), every, tested.take(np.arange(0)), 0
            reached.append({"coalitions": len(sample), "r2": explained(found, sample)})
        errors, stability = bootstrap(sample, found, max_order=max_order, times=times, rng=rng)
    except Interrupted:
        raise
    except KeyboardInterrupt as interrupt:
        raise Interrupted(kept) from interrupt
    errors = with_spread(errors, found.terms, sample.masks, random)
    asked_for = {"budget": budget, "max_order": max_order, "seed": seed, **asdict(options), "proxy": proxy}
    record = _record(found, asked_for, rounds=reached, failed=len(kept.failed), known=given, spread=random)
    result = _result(found, sample, tested, errors, stability, players=named, text=text, provenance=record)
    return _with_outlook(result)


def _with_outlook(result: SampledInteractions) -> SampledInteractions:
    """Say what R^2 to expect of more scores, where a Gaussian process leaves much unexplained."""
    wanting = result.held_out.any() and result.fidelity(0.0).r2 < _WANTING
    if result.provenance["gaussian"] is None or not wanting or len(result.values) > _MOST_OF_AN_OUTLOOK:
        return result
    found = outlook(result)
    told = {"budgets": list(found.budgets), "r2": list(found.r2)} if len(found.budgets) > 1 else None
    return replace(result, provenance={**result.provenance, "outlook": told})


def _sampled(
    value: Value,
    n: int,
    budget: int,
    options: SparseOptions,
    kept: ScoreCache,
    known: Known | None,
    fitted: dict[str, Any],
    watch: Progress,
) -> tuple[Sample, Sample, Recovered, list[dict[str, Any]], int]:
    """Score and fit in rounds; return what was fitted, what was held out, the fit, how it went, and known scores."""
    rng = np.random.default_rng(fitted["seed"])
    held, first = _planned(n, budget, options, rng)
    watch.begin(max(0, budget - len(kept)), most=True)
    ask: dict[str, Any] = {"asking": options, "progress": watch}
    tested = _scored(value, (held, np.full(len(held), 2), np.arange(len(held))), kept, ask)
    sample, found, reached = Sample(held[:0], np.zeros(0), np.zeros(0, dtype=np.int64)), None, []
    given = _agreeing(value, known, np.concatenate([held, first[0]]), options)
    asked = np.concatenate([held, given.masks])
    for count in _rounds(budget - len(held), len(first[0]), 3 * n if options.stop < _FEW else budget):
        part = _more(np.concatenate([first[0], asked]), count, options, rng, found)
        part = part if len(sample) else _together(first, part)
        if not len(part[0]):
            continue
        asked = np.concatenate([asked, part[0]])
        sample = (sample if len(sample) else given).joined(_scored(value, part, kept, ask))
        if not len(sample):
            raise ValueError("The value function scored none of the coalitions; see the warning for its reason.")
        found = predictive(sample, **fitted, start=_begun(found))
        reached.append(
            {"coalitions": len(sample) + len(tested), "r2": explained(found, tested if len(tested) else sample)}
        )
        if _enough(found, (sample, tested), reached[-1]["r2"], options.stop, len(given)):
            break
    assert found is not None
    return sample, tested, found, reached, len(given)


def _record(found: Recovered, asked: dict[str, Any], **counted: Any) -> dict[str, Any]:
    """Return what a result tells of its sample and its fit."""
    told: dict[str, Any] = {"alpha": found.alpha, "shrunk": found.prior is not None, "gaussian": None}
    if found.process is not None:
        scales, given = found.process.scales, found.process.terms
        told["gaussian"] = {
            "scales": scales.players.tolist(),
            "amplitude": scales.amplitude,
            "noise": scales.noise,
            "given": scales.given,
            "absence": scales.absent.reach,
            "extent": scales.absent.extent,
            "beside": [[kind, sorted(members)] for kind, members in given],
        }
    return {"method": "sparse", "sparse": asked, **told, **counted}


def checked_budget(
    n: int, budget: int | None, max_order: int, seed: int, players: Sequence[Player] | None = None
) -> int:
    """Return the budget, or say what is wrong with the arguments."""
    if not _whole(n) or n < 0:
        raise ValueError(f"n must be a number of players, 0 or more, but is {n!r}.")
    if not _whole(max_order) or max_order < 1:
        raise ValueError(f"max_order must be a whole number and at least 1, but is {max_order!r}.")
    check_seed(seed)
    if budget is not None and not _whole(budget):
        raise ValueError(f"budget must be a whole number of coalitions, or None, but is {budget!r}.")
    if players is not None and len(players) != n:
        raise ValueError(f"{len(players)} players are named, but n is {n}.")
    if odd := [player for player in players or () if not isinstance(player, Player)]:
        raise ValueError(
            f"players must be of interact.Player, but one is {odd[0]!r:.60}; interact.game_from takes plain names."
        )
    budget = usual_budget(n) if budget is None else int(budget)
    if budget < least_budget(n):
        raise ValueError(
            f"A budget of {budget} coalitions is below what the design needs for {n} players; give at least "
            f"{least_budget(n)} (8 n log2 n = {usual_budget(n)} is usual)."
        )
    return budget


def check_seed(seed: int) -> None:
    """Say what is wrong with a seed.

    Raises:
        ValueError: It is not a whole number, or negative.
    """
    if not _whole(seed) or seed < 0:
        raise ValueError(f"seed must be a whole number, 0 or more, but is {seed!r}.")


def _whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


Part = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Coalitions, bool [m, n], the stratum of each, int64 [m], and its group, int64 [m]."""


def _planned(n: int, budget: int, options: SparseOptions, rng: np.random.Generator) -> tuple[np.ndarray, Part]:
    """Return the held-out coalitions, and what is always scored: both ends, or all of few players."""
    if n <= 20 and 1 << n <= budget:
        # In no order, so that a function that fails without a certain player does not seem to fail always.
        every = (rng.permutation(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
        size = every.sum(axis=1) / max(n, 1)
        strata = np.where(size < 0.45, 0, np.where(size > 0.55, 1, 2))
        out = np.zeros(len(every), dtype=bool)
        if n >= 6:
            inner = np.flatnonzero(every.any(axis=1) & ~every.all(axis=1))
            out[inner[: len(every) // 8]] = True
        return every[out], (every[~out], strata[~out], np.arange(int((~out).sum())))
    ends = np.array([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)])
    count = min(_MOST_HELD_OUT, budget // 8)
    alone: dict[str, Any] = {"paired": False, "shared": 1, "rng": rng}
    middle, _ = draw(n, count // 2, kind="uniform", **alone)
    mixed, _ = draw(n, count - len(middle), kind="balanced", **alone)
    held = np.unique(np.concatenate([middle, mixed]), axis=0)
    held = held[(held.any(axis=1)) & (~held.all(axis=1))]
    # In no order, so that a function that fails without the first player does not seem to fail always.
    held = np.random.default_rng(len(held)).permutation(held)
    return held, (ends, np.array([0, 1]), np.arange(2))


def _enough(found: Recovered, parts: tuple[Sample, Sample], r2: float, stop: float, given: int) -> bool:
    """Say whether a fit explains the share `stop`; `parts` are what was fitted, so many given first, and held out."""
    if found.weak and stop >= _FEW:
        return False
    if found.process is not None:
        sample, tested = parts
        r2 = measured(found.process, (tested.masks, tested.values), (sample.masks, sample.values), given)
    return r2 >= stop


def _rounds(wanted: int, fixed: int, early: int) -> list[int]:
    """Return how many coalitions each round draws beside the fixed ones, which belong to the first.

    There are more than the usual rounds where they have at least `early` coalitions.
    """
    shares = [share for share in _MORE_ROUNDS if share in _ROUNDS or share * wanted >= early]
    ends = [max(round(share * wanted) - fixed, 0) for share in shares]
    return [ends[0], *(b - a for a, b in itertools.pairwise(ends))]


def _begun(found: Recovered | None) -> list[Term]:
    """Return the terms that a round begins its search with: few of them."""
    if found is None:
        return []
    return found.pool if found.process is not None else [] if found.weak else found.terms


def _more(
    taken: np.ndarray, count: int, options: SparseOptions, rng: np.random.Generator, found: Recovered | None
) -> Part:
    """Draw coalitions that were not taken before; where a Gaussian process was found, those that tell most."""
    shape: dict[str, Any] = {"kind": options.design, "paired": options.paired, "shared": options.shared}
    process = None if found is None else found.process
    plain = options.design in ("mixed", "uniform") and not options.paired and options.shared == 1
    few = taken.shape[1] <= _MOST_PLAYERS_OF_A_CHOICE and 0 < count <= _MOST_CHOSEN
    if process is None or not (options.adaptive and plain and few):
        return distinct(taken.shape[1], count, taken, rng=rng, **shape)
    pool = distinct(taken.shape[1], 2 * count + _POOL, taken, rng=rng, **shape)
    judges, _ = draw(taken.shape[1], _POOL, rng=rng, **shape)
    chosen = np.sort(process.next(pool[0], judges, count))
    masks, strata, groups = (part[chosen] for part in pool)
    return masks, strata, groups


def _scored(value: Value, part: Part, cache: ScoreCache, ask: dict[str, Any]) -> Sample:
    """Score coalitions and leave out those that have no score."""
    masks, strata, groups = part
    values = score(value, masks, cache, **ask)
    good = np.isfinite(values)
    return Sample(masks[good], values[good], strata[good], groups[good])


def _together(first: Part, second: Part) -> Part:
    """Return both parts as one; no coalition of the one shares a group with one of the other."""
    masks, strata = (np.concatenate([first[i], second[i]]) for i in range(2))
    return masks, strata, np.concatenate([first[2], second[2] + 1 + first[2].max(initial=-1)])


def _agreeing(value: Value, known: Known | None, taken: np.ndarray, options: SparseOptions) -> Sample:
    """Return the known scores of coalitions that are not scored anyway, if they are of this value function."""
    n = taken.shape[1]
    if known is None:
        return Sample(taken[:0], np.zeros(0), np.zeros(0, dtype=np.int64))
    masks, values = np.asarray(known[0]), np.asarray(known[1], dtype=np.float64)
    if masks.dtype != bool or masks.ndim != 2 or masks.shape[1] != n or values.shape != masks.shape[:1]:
        raise ValueError(
            f"known must hold booleans of shape [m, {n}] and m scores, but holds {masks.dtype} of shape {masks.shape} "
            f"and scores of shape {values.shape}."
        )
    kept = ScoreCache()
    kept.open(n)
    kept.put(masks, values)
    try:
        # In half precision a score moves by a tenth of their spread with the batch that it is computed in.
        check_same(value, kept, options, share=0.25)
    except ValueError:
        warnings.warn(
            "The known scores are left out, because the value function now returns other values for the same "
            "coalitions; they are of another value function (another model, text or masking).",
            stacklevel=3,
        )
        masks = masks[:0]
    seen, new = {row.tobytes() for row in taken}, []
    for i, row in enumerate(masks):
        if np.isfinite(values[i]) and row.tobytes() not in seen:
            seen.add(row.tobytes())
            new.append(i)
    if len(masks) and not np.isfinite(values).any():
        warnings.warn("None of the known scores is a number, so they are left out.", stacklevel=3)
    return Sample(masks[new], values[new], np.full(len(new), 2))


def _result(
    found: Recovered, sample: Sample, tested: Sample, errors: np.ndarray, stability: np.ndarray, **told: Any
) -> SampledInteractions:
    """Put terms and scores into a result."""
    both = sample.joined(tested)
    rows = {kind: [i for i, term in enumerate(found.terms) if term[0] == kind] for kind in ("and", "or")}
    terms = Terms(
        n=both.masks.shape[1],
        bias=found.bias,
        and_sets=tuple(found.terms[i][1] for i in rows["and"]),
        or_sets=tuple(found.terms[i][1] for i in rows["or"]),
        and_errors=errors[rows["and"]],
        or_errors=errors[rows["or"]],
        and_stability=stability[rows["and"]],
        or_stability=stability[rows["or"]],
    )
    i_and, i_or = found.effects[rows["and"]], found.effects[rows["or"]]
    return SampledInteractions(
        values=both.values,
        i_and=i_and,
        i_or=i_or,
        noise=terms.predict(both.masks, i_and, i_or) - both.values,
        primal=float(np.abs(found.effects).sum()),
        coalitions=both.masks,
        held_out=np.arange(len(both)) >= len(sample),
        terms=terms,
        **told,
    )
