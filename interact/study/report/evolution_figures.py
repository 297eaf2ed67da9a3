"""Figures over the steps of training: order histograms, strength and number, gamma and rho, contribution, losses.

They follow figures 2, 3 and 4 of Zhang et al. 2026 (arXiv 2605.17967), with intervals, stages and controls added. A
column is a model; thin lines are its other seeds.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interact.formats.schema import CLASSES, Run
from interact.study.report.drawing import (
    COLOURS,
    CONTROL,
    canvas,
    draw_control,
    draw_series,
    one_legend,
    plain,
    say,
    shade_stages,
    step_axis,
    title,
)
from interact.study.report.measures import Measures, StepScale
from interact.study.report.runs import Panel, Setting, losses_of, steps_of
from interact.study.report.store import Study

_MOST_STEPS = 5
_Row = tuple[str, str, tuple[tuple[str, str], ...]]
"""A metric, its axis label, and its controls: (metric, words)."""


_LOSSES = (
    ("train_loss", "training, whole response", CONTROL, "-"),
    ("heldout_loss", "held-out, whole response (an older log)", "#000000", ":"),
    ("validation_label_loss", "validation, label", COLOURS["preserved"], "-"),
    ("test_label_loss", "test, label", "#000000", "--"),
    ("test_end_loss", "test, end of text", COLOURS["removed"], ":"),
)
_ACCURACIES = (
    ("validation_accuracy", "validation, accuracy", COLOURS["preserved"], "-"),
    ("test_accuracy", "test, accuracy", "#000000", "--"),
)
"""What is drawn of the logged losses: name, label, colour, dash."""


def chosen_steps(steps: list[int], most: int = _MOST_STEPS) -> list[int]:
    """Choose steps to show, evenly among those followed, the first after training began and the last included."""
    trained = [step for step in steps if step > 0] or steps
    places = np.linspace(0, len(trained) - 1, min(most, len(trained)))
    return [trained[round(place)] for place in places]


def order_histograms(study: Study, measures: Measures, run: Run) -> Figure | None:
    """Fig 2, upper part: sums of positive and negative effects of each order; rows are classes, columns steps."""
    kinds = [kind for kind in ("emerged", "preserved", "removed") if measures.orders(run.name, kind)]
    steps = chosen_steps(steps_of(study, run.name))
    if not kinds or not steps:
        return None
    noisy = [kind for kind in (*kinds, "all") if measures.orders(run.name, kind, noise=True)]
    # Noise that is not told apart by class has a row of its own.
    rows = [*kinds, *(["noise"] if noisy == ["all"] else [])]
    figure, axes = canvas(len(rows), len(steps), width=1.7, height=1.35)
    for row, kind in enumerate(rows):
        alone = kind == "noise"
        own = [{} if alone else measures.order_sums(run.name, kind, step) for step in steps]
        noise = [measures.order_sums(run.name, "all" if alone else kind, step, noise=True) for step in steps]
        limit = _limit(own, noise)
        orders = sorted({order for s in (*own, *noise) for order in s}) or [1]
        for column, step in enumerate(steps):
            axis = axes[row, column]
            _order_bars(axis, orders, own[column], noise[column], COLOURS.get(kind, CONTROL))
            axis.set_ylim(-limit, limit)
            axis.set_xticks(orders[:: 1 + len(orders) // 8])
            axis.tick_params(labelleft=column == 0, labelbottom=row == len(rows) - 1)
            if row == 0:
                axis.set_title(f"step {step}")
        axes[row, 0].set_ylabel("noise alone\n(control)" if alone else kind)
    axes[-1, len(steps) // 2].set_xlabel("order")
    one_legend(figure)
    at = sorted({measures.noise_step(run.name, kind) or 0 for kind in noisy})
    control = f"noise alone, at step {at[-1]}: open boxes are cut off" if noisy else "the noise control was not run"
    title(figure, f"Sum of effects of each order, {plain(run.label)} ({control})")
    return figure


def _limit(own: list[dict], noise: list[dict]) -> float:
    """Return how far bars reach; noise that is far stronger is cut off, so that the claim stays readable."""
    claim, control = (
        max((abs(v) for s in sums for pair in s.values() for v in pair if math.isfinite(v)), default=0.0)
        for sums in (own, noise)
    )
    return 1.08 * (min(max(claim, control), 3 * claim) if claim else control) or 1.0


def _order_bars(axis: Axes, orders: list[int], own: dict, noise: dict, colour: str) -> None:
    for sign in (0, 1):
        if own:
            heights = [np.nan_to_num(own.get(order, (0.0, 0.0))[sign]) for order in orders]
            axis.bar(orders, heights, color=colour, alpha=0.6 if sign else 1.0, width=0.75)
        if noise:
            heights = [np.nan_to_num(noise.get(order, (0.0, 0.0))[sign]) for order in orders]
            look = {"facecolor": "none", "edgecolor": "#33383f", "linestyle": (0, (2, 1)), "linewidth": 0.9}
            axis.bar(orders, heights, width=0.9, label="" if sign else "noise alone (control)", **look)
    axis.axhline(0, color="#7a8088", linewidth=0.7)


def strength_and_number(study: Study, measures: Measures, setting: Setting) -> Figure | None:
    """Fig 2, lower part: strength and number of each class over the steps, stages shaded."""
    rows: list[_Row] = [
        ("strength", "strength, sum of |effect|", (("strength_noise", "noise alone"),)),
        ("count", "number of interactions", (("count_noise", "noise alone"),)),
    ]
    if any(measures.measured("strength_normalised", [p.main.name]) for p in setting.panels):
        rows.insert(
            1, ("strength_normalised", "strength / |v(N) - v(∅)|", (("strength_normalised_noise", "noise alone"),))
        )
    return _over_steps(study, measures, setting, rows, "Strength and number of interactions")


def gamma_and_rho(study: Study, measures: Measures, setting: Setting) -> Figure | None:
    """Fig 3: generalisability gamma and non-cancellation rho of each class over the steps, with their controls."""
    rows: list[_Row] = [
        ("gamma", "generalisability γ", (("gamma_permuted", "players permuted"),)),
        ("rho", "non-cancellation ρ", (("rho_permuted", "signs permuted"), ("rho_noise", "noise alone"))),
    ]
    return _over_steps(study, measures, setting, rows, "Generalisability and non-cancellation")


def contribution_and_backbone(study: Study, measures: Measures, setting: Setting) -> Figure | None:
    """Fig 4: contribution per interaction, and the cross-entropy of the answer from one class alone."""
    whole = (("cross_entropy_model", "the whole model"),)
    rows: list[_Row] = [
        ("contribution", "contribution\nper interaction", ()),
        ("cross_entropy", "cross-entropy from\none class alone", whole),
    ]
    if any(measures.measured("cross_entropy_bias", [p.main.name]) for p in setting.panels):
        rows.append(("cross_entropy_bias", "cross-entropy, class\nand v(∅)", whole))
    return _over_steps(study, measures, setting, rows, "What the classes contribute")


def losses(study: Study, measures: Measures, setting: Setting) -> Figure | None:
    """The loss of the label, that of the end of the text, and the accuracy over the steps, with the stages."""
    if all(losses_of(study, panel.main).empty for panel in setting.panels):
        return None
    shares = [p for p in setting.panels if losses_of(study, p.main)["name"].str.endswith("accuracy").any()]
    figure, axes = canvas(2 if shares else 1, len(setting.panels))
    for column, panel in zip(axes.T, setting.panels, strict=True):
        rows = losses_of(study, panel.main)
        if rows.empty:
            for axis in column:
                say(axis, "no loss was logged")
            continue
        logged = [int(step) for step in rows["step"]]
        # The followed steps name the axis, so that it can be compared with the other figures.
        scale = StepScale(tuple(sorted({logged[0], logged[-1], *steps_of(study, panel.main.name)})))
        for axis, curves, words in zip(column, (_LOSSES, _ACCURACIES), ("cross-entropy", "accuracy"), strict=False):
            for name, label, colour, dash in curves:
                part = rows[rows["name"] == name]
                if len(part):
                    look = {"color": colour, "label": label, "marker": "o" if len(part) < 40 else ""}
                    axis.plot(scale(part["step"].to_numpy()), part["value"], dash, **look)
            _finish(axis, measures, panel, scale, words)
    one_legend(figure)
    title(figure, f"Losses, {plain(setting.title)} (full line: denoising ends; dashed: overfitting starts)")
    return figure


def _over_steps(study: Study, measures: Measures, setting: Setting, rows: list[_Row], words: str) -> Figure | None:
    runs = [panel.main.name for panel in setting.panels]
    if not any(measures.measured(name, runs) for name, _, _ in rows):
        return None
    figure, axes = canvas(len(rows), len(setting.panels), height=1.95)
    for line, row in zip(axes, rows, strict=True):
        shown = []
        for axis, panel in zip(line, setting.panels, strict=True):
            scale = StepScale(tuple(steps_of(study, panel.main.name)) or (0,))
            if not _draw_classes(axis, measures, panel, scale, row[0]):
                axis.set_ylabel(row[1])
                say(axis, "was not measured in this run")
                continue
            shown.append((axis, *_draw_controls(axis, measures, panel, scale, row[2])))
            _finish(axis, measures, panel, scale, row[1], titled=row is rows[0])
        low = min((axis.get_ylim()[0] for axis, _, _ in shown), default=0.0)
        high = max((axis.get_ylim()[1] for axis, _, _ in shown), default=1.0)
        for axis, drawn, missing in shown:
            axis.set_ylim(low, high)
            far = [f"{name} {value:.3g}" for name, value in drawn if not low <= value <= high]
            notes = [f"control not run: {', '.join(missing)}"] * bool(missing)
            notes += [f"beyond the frame: {', '.join(far)}"] * bool(far)
            look = {"fontsize": 6.5, "color": "#5b626b", "va": "top"}
            axis.annotate("\n".join(notes), (0.02, 0.97), xycoords="axes fraction", **look)
    seeds = " (thin lines: other seeds)" if any(panel.others for panel in setting.panels) else ""
    one_legend(figure)
    title(figure, f"{words}, {plain(setting.title)}{seeds}")
    return figure


def _draw_classes(axis: Axes, measures: Measures, panel: Panel, scale: StepScale, name: str) -> bool:
    kinds = [kind for kind in CLASSES if measures.get(panel.main.name, kind, name)]
    # All interactions together would flatten the classes.
    drawn = [
        draw_series(axis, scale, measures.get(panel.main.name, kind, name), kind, label=kind)
        for kind in kinds or ["all"]
    ]
    for other in panel.others:
        for kind in kinds:
            draw_series(axis, scale, measures.get(other.name, kind, name), kind, label="", faint=True)
    return any(drawn)


def _draw_controls(
    axis: Axes, measures: Measures, panel: Panel, scale: StepScale, controls: tuple[tuple[str, str], ...]
) -> tuple[list[tuple[str, float]], list[str]]:
    """Draw the controls; return the last figure of each, and those that were not run."""
    low, high = axis.get_ylim()
    found: list[tuple[str, float]] = []
    missing, values = [], []
    for name, words in controls:
        kinds = [kind for kind in CLASSES if measures.get(panel.main.name, kind, name)] or ["all"]
        label = words
        for kind in kinds:
            series = measures.control(panel.main.name, kind, name)
            if series is not None and draw_control(axis, scale, series, kind, label=label):
                found.append((words if kind == "all" else f"{words} ({kind})", float(series.values[-1])))
                values += series.values[np.isfinite(series.values)].tolist()
                label = "_"
        if label == words:
            missing.append(words)
    # A control that is far from the claim must not flatten it: it may stretch the frame threefold, no more.
    span = high - low
    near = [value for value in values if low - span <= value <= high + span]
    axis.set_ylim(min([low, *(value - 0.04 * span for value in near)]), max([high, *(v + 0.04 * span for v in near)]))
    return found, missing


def _finish(axis: Axes, measures: Measures, panel: Panel, scale: StepScale, words: str, *, titled: bool = True) -> None:
    step_axis(axis, scale)
    shade_stages(axis, scale, measures, panel.main.name)
    axis.set_ylabel(words)
    if titled:
        axis.set_title(plain(panel.main.short_model, 40))
