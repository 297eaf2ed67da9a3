"""Do early interactions predict late losses? Leave groups of runs out; compare forecasts with the validation loss.

Of each run, at its last followed step up to t0: normalised strength, rho and (where every run has it) gamma of removed
and emerged interactions. The truth is the last label loss after t0 on the test set. A *group* is a run with its sister
seeds (the same model and data): sisters end alike, so a forecast that knew one would know the other. Five forecasts of
a run, from the runs of all other groups:

1. `mean`: their mean last loss.
2. `last value`: its own label loss on the validation set at t0, unchanged.
3. `validation loss`: least squares on that loss; the one to beat.
4. `interactions`: ridge regression on the standardised interaction figures.
5. `both`: 3, and 4 on what 3 leaves over, so that it can only gain from interactions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interact.evolution.tables import check
from interact.formats.schema import runs_in

FEWEST_RUNS = 5
FEWEST_GROUPS = 3
_FIGURES = ("strength_normalised", "rho", "gamma")
_GROUPS = ("removed", "emerged")


@dataclass(frozen=True)
class Forecast:
    """How well the last test loss of a run was predicted from the runs of other groups.

    Attributes:
        until: The step t0.
        figures: The interaction figures that were used.
        predictions: Index run; columns `truth` and the five forecasts.
        errors: Mean absolute error of each forecast, in the loss's unit.
        left_out: A sentence for each run that could not take part.
    """

    until: int
    figures: tuple[str, ...]
    predictions: pd.DataFrame
    errors: dict[str, float]
    left_out: tuple[str, ...]

    @property
    def gain(self) -> float:
        """Error from the validation loss alone minus error with interactions; positive where they help."""
        return self.errors["validation loss"] - self.errors["both"]

    def __str__(self) -> str:
        verdict = "help" if self.gain > 0 else "do not help"
        errors = ", ".join(f"{name} {error:.4g}" for name, error in self.errors.items())
        return (
            f"Interactions up to step {self.until} {verdict} in predicting the last test loss of "
            f"{len(self.predictions)} runs (mean absolute error, one group of seeds left out: {errors})."
        )


def forecast(metrics: pd.DataFrame, losses: pd.DataFrame, *, until: int, ridge: float = 1.0) -> Forecast:
    """Predict each run's last test loss from its early interactions; the module's docstring says how.

    Runs should differ in model, data or seed; one run under two baselines is not two runs.

    Args:
        metrics: Table.
        losses: Table with `validation_label_loss` up to `until` and `test_label_loss` after it.
        until: The step t0.
        ridge: Strength of the ridge penalty, in units of one standardised run, above 0.

    Raises:
        ValueError: A table does not fit, ridge is not above 0, or fewer than 5 runs or 3 groups can take part.
    """
    metrics, losses = check(metrics, "metrics"), check(losses, "losses")
    if not ridge > 0:
        raise ValueError(f"The ridge penalty must be above 0, but is {ridge}.")
    known = runs_in(metrics)
    early = _early(metrics, until)
    # The losses are those of a training, whichever baseline its runs have.
    early.index = pd.Index([known[run].training for run in early.index])
    if early.index.has_duplicates:
        raise ValueError(
            f"Two runs are of the training {early.index[early.index.duplicated()][0]!r}; give those of one baseline."
        )
    loss = losses.sort_values("step", kind="stable").dropna(subset="value")
    now = loss[(loss["name"] == "validation_label_loss") & (loss["step"] <= until)]
    later = loss[(loss["name"] == "test_label_loss") & (loss["step"] > until)]
    now, later = (part.groupby("run", observed=True)["value"].last() for part in (now, later))
    left_out = []
    ours = {known[run].training for run in metrics["run"].astype("str").unique()}
    for run in sorted(ours | set(loss["run"].astype("str"))):
        for where, what in (
            (early.index, "complete figures of removed and emerged interactions up to"),
            (now.index, "label loss on a validation set up to"),
            (later.index, "label loss on a test set after"),
        ):
            if run not in where:
                left_out.append(f"The run {run!r} was left out: it has no {what} step {until}.")
                break
    runs = early.index.intersection(now.index).intersection(later.index).sort_values()
    of = {run.training: f"{run.model}\n{run.data}" for run in known.values()}
    groups = pd.factorize(np.array([of[run] for run in runs], dtype=object))[0]
    if len(runs) < FEWEST_RUNS or len(set(groups)) < FEWEST_GROUPS:
        hint = f" {left_out[0]}" if left_out else ""
        raise ValueError(
            f"A forecast that leaves a run and its sister seeds out needs at least {FEWEST_RUNS} runs of "
            f"{FEWEST_GROUPS} models or data sets, with figures and label losses before and after step {until}, but "
            f"there are {len(runs)} of {len(set(groups))}.{hint}"
        )
    figures, start, truth = (part.loc[runs].to_numpy(dtype=np.float64) for part in (early, now, later))
    rows = [_predict(figures, start, truth, out, groups != groups[out], ridge) for out in range(len(runs))]
    predictions = pd.DataFrame(rows, index=pd.Index(runs, name="run"))
    predictions.insert(0, "truth", truth)
    errors = {str(name): float((predictions[name] - predictions["truth"]).abs().mean()) for name in rows[0]}
    return Forecast(until, tuple(early.columns), predictions, errors, tuple(left_out))


def _early(metrics: pd.DataFrame, until: int) -> pd.DataFrame:
    """Return the figures of each run at its last followed step in 1..until, rows complete; index run."""
    part = metrics[(metrics["step"] > 0) & (metrics["step"] <= until)]
    part = part[part["class"].isin(_GROUPS) & part["name"].isin(_FIGURES)]
    part = part[part["step"] == part.groupby("run", observed=True)["step"].transform("max")]
    wide = part.assign(figure=part["class"].astype("str") + " " + part["name"].astype("str"))
    wide = wide.astype({"run": "str"}).pivot(index="run", columns="figure", values="value")
    # Gamma needs a second model; it is left out unless every run has it.
    optional = [column for column in wide.columns if str(column).endswith("gamma") and wide[column].isna().any()]
    return wide.drop(columns=optional).dropna()


def _predict(
    figures: np.ndarray, now: np.ndarray, truth: np.ndarray, out: int, others: np.ndarray, ridge: float
) -> dict[str, float]:
    """Foretell run `out` from others, bool [runs]; figures float64 [runs, figures], now and truth float64 [runs]."""
    mean = truth[others].mean()
    centred = now[others] - now[others].mean()
    spread = (centred**2).sum()
    slope = (centred * (truth[others] - mean)).sum() / spread if spread > 0 else 0.0
    line = mean + slope * (now - now[others].mean())
    return {
        "mean": float(mean),
        "last value": float(now[out]),
        "validation loss": float(line[out]),
        "interactions": float(mean + _ridge(figures, truth - mean, others, out, ridge)),
        "both": float(line[out] + _ridge(figures, truth - line, others, out, ridge)),
    }


def _ridge(figures: np.ndarray, target: np.ndarray, others: np.ndarray, out: int, ridge: float) -> float:
    """Foretell the target, whose mean over the others is 0, by ridge regression on standardised figures."""
    centre, scale = figures[others].mean(0), figures[others].std(0)
    standard = (figures - centre) / np.where(scale > 0, scale, 1.0)
    train = standard[others]
    weights = np.linalg.solve(train.T @ train + ridge * np.eye(train.shape[1]), train.T @ target[others])
    return float(standard[out] @ weights)
