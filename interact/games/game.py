"""A game: players, and a score v(S) for every coalition S of them.

Whatever gives scores is a game: a prompt of a model (`interact.game`), or a plain function (`interact.game_from`).
Interactions, exact or from sampled coalitions, are found of any game in the same way.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interact.formats.progress import Progress
from interact.games.coalitions import presence
from interact.games.splitting import split_on
from interact.prompt.players import Player
from interact.results import ExactInteractions, Interactions
from interact.sparse.asking import Asking, check_same, fill
from interact.sparse.scores import Interrupted, ScoreCache, Value, named
from interact.sparse.search import SparseOptions, checked_budget, explain
from interact_kernels.sparsify import NoiseForm

METHODS = ("exact", "sparse")
_MOST_SOFT = 12
"""Most players whose default is the soft form: with 13 it takes 63 s where a box takes 8, with 14 it did not end."""


@dataclass(frozen=True)
class Scores:
    """The scores of all coalitions of a game.

    Attributes:
        values: float64, shape [2**n].
        found_out: What their scoring found out, for the record.
    """

    values: np.ndarray
    found_out: Mapping[str, Any]


class Game(ABC):
    """Players and the score of every coalition of them."""

    @property
    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """The players, in the order of their bits."""

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @property
    def text(self) -> str:
        """The text that the players are parts of; empty when there is none."""
        return ""

    @cached_property
    def device(self) -> torch.device | None:
        """The device of the model that gives the scores; None without a model in this process."""
        return None

    @abstractmethod
    def __call__(self, masks: Any) -> np.ndarray:
        """Score coalitions.

        Args:
            masks: Bit masks (bit i = player i), integers of shape [M]; or which players are present, bool, shape
                [M, n].

        Returns:
            float64, shape [M].
        """

    @abstractmethod
    def explain(self) -> str:
        """Say how the coalitions of this game are scored."""

    def interactions(
        self,
        method: str = "exact",
        *,
        noise: str | None = None,
        kappa: float | None = None,
        budget: int | None = None,
        max_order: int | None = None,
        seed: int | None = None,
        sparse: SparseOptions | None = None,
        cache: ScoreCache | str | Path | None = None,
        known: tuple[np.ndarray, np.ndarray] | None = None,
        progress: bool | None = None,
    ) -> Interactions:
        """Split the scores into AND and OR interactions.

        ``method="exact"`` scores all 2**n coalitions of up to 20 players and certifies the split; ``method="sparse"``
        samples coalitions of any number of players (`interact.sparse.explain`) and measures the fit on held-out ones.

        Args:
            method: ``"exact"`` or ``"sparse"``.
            noise: How noise of the scores is treated: ``"soft"`` (it has a price; one optimum), ``"box"`` (up to kappa,
                as published) or ``"exact"`` (none). None takes soft, or a box where a kappa is given or there are more
                than 12 players. Exact only.
            kappa: That price or bound, relative to |v(N) - v(empty)|; None for 0.01 (soft) or 0.04 (box); exact only.
            budget: Most coalitions to score, None for 8 n log2(n); sparse only, like the four that follow and `known`.
            max_order: Most players of an interaction; None for 4.
            seed: Seed of the sample; None for 0.
            sparse: How to sample and search, see `interact.sparse.SparseOptions`.
            cache: A file that keeps scores as they come, or the `scores` of an `Interrupted`, so that an interrupted
                run continues where it stopped; exact too.
            known: Coalitions (bool [m, n]) and scores (float [m]) of this game, to be fitted in addition to the budget.
            progress: Show a bar with the time left, and tell the cost of a long run after its first batch; None shows
                them on a terminal.

        Raises:
            ValueError: Something given is wrong; the sentence says what was expected and what to do.
            RuntimeError: The machine lacks something (memory).
            Interrupted: Ctrl-C; its `scores` can be passed on as `cache`.
        """
        check_method(method, budget, max_order, seed, sparse, known)
        if method == "sparse":
            if noise is not None or kappa is not None:
                raise ValueError(
                    "noise and kappa belong to the split of all scores; leave them out of method='sparse'."
                )
            order, seed = 4 if max_order is None else max_order, 0 if seed is None else seed
            sampling = {"budget": budget, "max_order": order, "seed": seed, "options": sparse, "known": known}
            return self._sampled(cache, progress=progress, **sampling)
        NoiseForm.of(noise, kappa)  # What is wrong with it is said before the scores are computed.
        presence(self.n, None)  # So are too many players.
        # The name of a game reads some of every weight; in memory no score can be taken for another game's.
        kept = self._kept(ScoreCache() if cache is None else cache)
        check_same(self._value(), kept, self._asked(None))
        with self._keeping(kept):
            scores = self.all_scores(progress=progress, cache=kept)
            return split_together([(self, scores)], noise=noise, kappa=kappa)[0]

    def _sampled(
        self, cache: ScoreCache | str | Path | None, *, progress: bool | None, **sampling: Any
    ) -> Interactions:
        """Explain the game from sampled coalitions."""
        budget = checked_budget(self.n, sampling["budget"], sampling["max_order"], sampling["seed"])
        kept = self._kept(cache)
        self._begin(kept)
        sampling["options"] = self._asked(sampling["options"])
        told = Progress.of(progress, lambda: self._cost_in_words(budget))
        named = {"players": self.players, "text": self.text}
        with self._keeping(kept):
            result = explain(self._value(), self.n, **named, cache=kept, progress=told, **sampling)
        provenance = {**self._provenance(), "noise": None, "kappa": None, **result.provenance, **self._scored_how()}
        return replace(result, provenance=provenance)

    @abstractmethod
    def all_scores(self, *, progress: bool | None = None, cache: ScoreCache | None = None) -> Scores:
        """Score all 2**n coalitions.

        Args:
            progress: Show a bar and tell the cost; None shows them on a terminal.
            cache: Scores known, which are not asked again; new ones are kept in it as they come.
        """

    def _kept(self, cache: ScoreCache | str | Path | None) -> ScoreCache:
        """Return where scores are kept, with those that are there."""
        kept = cache if isinstance(cache, ScoreCache) else ScoreCache(cache, self.identity())
        if kept.identity and (own := self.identity()) and kept.identity != own:
            raise ValueError("The cache holds scores of another game (model, text, masking); pass another one.")
        kept.open(self.n)
        return kept

    @contextmanager
    def _keeping(self, kept: ScoreCache) -> Iterator[None]:
        """Hand out the scores of an interrupted run with the name of this game."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            kept.identity = kept.identity or self.identity()
            raise (interrupt if isinstance(interrupt, Interrupted) else Interrupted(kept)) from None

    def _begin(self, kept: ScoreCache) -> None:  # noqa: B027
        """Do what comes before a sample; nothing where a game has nothing to say of its own."""

    def _value(self) -> Value:
        """Return what is asked for scores."""
        return self

    def _asked(self, given: SparseOptions | None) -> SparseOptions:
        """Return how this game is sampled and asked, where that was left open."""
        return given or SparseOptions()

    def _cost_in_words(self, budget: int) -> str:
        """Say what is known of the cost of a sample before anything is measured."""
        return "each a call or a part of one"

    def _provenance(self) -> dict[str, Any]:
        """Return everything needed to repeat the game."""
        return {}

    def _scored_how(self) -> dict[str, Any]:
        """Return what is known of how the last coalitions were scored."""
        return {}

    def identity(self) -> str:
        """Name the game, so that no other game continues its file of scores; empty if it has no name."""
        return ""


@dataclass(frozen=True, eq=False)
class FunctionGame(Game):
    """A game whose scores come from a function; see `game_from`."""

    function: Value
    named: tuple[Player, ...]
    record: Mapping[str, Any]
    asking: Asking = field(default_factory=Asking)
    name: str = ""

    @property
    def players(self) -> tuple[Player, ...]:
        """The players, in the order of their bits."""
        return self.named

    def __call__(self, masks: Any) -> np.ndarray:
        """Score coalitions, see `Game`.

        Raises:
            ValueError: The function returned other than one finite number per coalition, or fails for some.
            RuntimeError: The function no longer answers.
        """
        return self._scores(presence(self.n, masks).numpy(), ScoreCache(), None)

    def all_scores(self, *, progress: bool | None = None, cache: ScoreCache | None = None) -> Scores:
        """Score all 2**n coalitions in batches, see `Game`."""
        with Progress.of(progress, lambda: self._cost_in_words(0)) as told:
            values = self._scores(presence(self.n, None).numpy(), ScoreCache() if cache is None else cache, told)
        return Scores(values, self._scored_how())

    def _scores(self, present: np.ndarray, cache: ScoreCache, told: Progress | None) -> np.ndarray:
        cache.open(self.n)
        if told is not None:
            told.begin(len(present) - len(cache))
        fill(self.function, present, cache, self.asking, told)
        if cache.failed:
            key, reason = next(iter(cache.failed.items()))
            raise ValueError(
                f"The function gave no score for {len(cache.failed)} of {len(present)} coalitions; the first is the "
                f"mask {named(key)}: {reason}. Correct it, or pass method='sparse', which leaves them out."
            )
        return cache.get(present)

    def _value(self) -> Value:
        return self.function

    def _asked(self, given: SparseOptions | None) -> SparseOptions:
        own = asdict(self.asking)
        if given is None:
            return SparseOptions(**own)
        # What the options leave as it is by default is asked as the game was made to be asked.
        usual = asdict(Asking())
        return replace(given, **{name: own[name] for name in own if getattr(given, name) == usual[name]})

    def identity(self) -> str:
        """Return the name that the function was given."""
        return self.name

    def explain(self) -> str:
        """Say how the coalitions of this game are scored."""
        return (
            f"The function {getattr(self.function, '__name__', type(self.function).__name__)} scores every coalition."
        )

    def _provenance(self) -> dict[str, Any]:
        return dict(self.record)


def game_from(
    function: Value,
    players: int | Sequence[str],
    *,
    asking: Asking | None = None,
    name: str = "",
    provenance: Mapping[str, object] | None = None,
) -> FunctionGame:
    """Make a game of a function, such as a model behind an API.

    Args:
        function: Which players are present, bool, shape [m, n] -> scores, float, shape [m].
        players: The players' names; or how many there are.
        asking: How many coalitions a call has, and how often and after which wait a call that failed is tried again.
        name: What files of scores belong to (model, text, version). Scores of another name are refused; without a
            name four scores of a file are scored again and compared.
        provenance: What to record with its results: JSON values.

    Raises:
        ValueError: The players are no names and no number, or the provenance is not of JSON values.

    >>> game = game_from(lambda masks: 2.0 * masks[:, :2].all(1) - masks[:, 2], ["not", "good", "film"])
    >>> [(sorted(term), effect) for term, effect in game.interactions(kappa=0).and_terms.items()]
    [([0, 1], 2.0), ([2], -1.0)]
    """
    names = _named(players)
    told = dict(provenance or {})
    try:
        json.dumps(told)
    except (TypeError, ValueError) as error:
        raise ValueError(f"provenance must hold JSON values, since a file of a result tells them: {error}.") from error
    made = tuple(Player(name, (0, 0), (0, 0)) for name in names)
    return FunctionGame(function, made, told, asking or Asking(), name)


def _named(players: int | Sequence[str]) -> list[str]:
    """Return the names of players."""
    if isinstance(players, Integral) and not isinstance(players, bool) and (count := int(players)) >= 0:
        return [f"player {i}" for i in range(count)]
    names = list(players) if isinstance(players, Iterable) and not isinstance(players, str) else [None]
    if any(not isinstance(name, str) for name in names):
        raise ValueError(f"players are names in a list, or their number, 0 or more, but are {players!r:.60}.")
    return [str(name) for name in names]


def form_for(n: int, noise: str | None, kappa: float | None) -> NoiseForm:
    """Return the form of a split of n players, as `Game.interactions` takes it.

    Raises:
        ValueError: There is no such form.
    """
    plain = noise is None and kappa is None and n > _MOST_SOFT
    return NoiseForm.of("box" if plain else noise, kappa)


def split_together(
    scored: Sequence[tuple[Game, Scores]], *, noise: str | None = None, kappa: float | None = None
) -> list[ExactInteractions]:
    """Split the scores of games with the same number of players in one call; args as `Game.interactions`."""
    if not scored:
        return []
    values = np.stack([scores.values for _, scores in scored])
    form = form_for(scored[0][0].n, noise, kappa)
    noise, kappa = form.noise, form.kappa
    split = split_on(values, scored[0][0].device, noise=noise, kappa=kappa)
    results = []
    for row, (game, scores) in enumerate(scored):
        arrays = {name: getattr(split, name)[row] for name in ("i_and", "i_or", "noise", "certificate")}
        bounds = {name: float(getattr(split, name)[row]) for name in ("primal", "dual", "gap")}
        found: dict[str, Any] = {"values": scores.values, **arrays, **bounds}
        provenance = {**game._provenance(), **split.form.record(), **scores.found_out}
        results.append(ExactInteractions(players=game.players, text=game.text, provenance=provenance, **found))
    return results


def check_method(method: str, *sampling: object) -> None:
    """Refuse an unknown method, and options of sampling for an exact one."""
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; choose one of {list(METHODS)}.")
    if method == "exact" and any(given is not None for given in sampling):
        raise ValueError(
            "budget, max_order, seed, sparse and known belong to sampled coalitions; pass method='sparse' with them."
        )
