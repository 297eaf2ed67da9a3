"""Figures over the steps of training: order histograms, strength and number, gamma and rho, contribution, losses.

They follow figures 2, 3 and 4 of Zhang et al. 2026 (arXiv 2605.17967), with intervals, stages and controls added. A
column is a model; thin lines are its other seeds.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interact.report.drawing import (
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
)
from interact.report.measures import Measures, StepScale
from interact.report.runs import CLASSES, Panel, Run, Setting, losses_of, steps_of
from interact.report.store import Study

_MOST_STEPS = 5


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
        finite = [abs(v) for s in (*own, *noise) for pair in s.values() for v in pair if math.isfinite(v)]
        limit = 1.08 * max(finite, default=1.0) or 1.0
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
    figure.supxlabel("order", fontsize=8)
    one_legend(figure)
    at = sorted({measures.noise_step(run.name, kind) or 0 for kind in noisy})
    control = f"noise alone: at step {at[-1]}" if noisy else "the noise control was not run"
    figure.suptitle(f"Sum of effects of each order, {plain(run.label)} ({control})", fontsize=9)
    return figure


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
    rows = [
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
    rows = [
        ("gamma", "generalisability γ", (("gamma_permuted", "players permuted"),)),
        ("rho", "non-cancellation ρ", (("rho_permuted", "signs permuted"), ("rho_noise", "noise alone"))),
    ]
    return _over_steps(study, measures, setting, rows, "Generalisability and non-cancellation")


def contribution_and_backbone(study: Study, measures: Measures, setting: Setting) -> Figure | None:
    """Fig 4: contribution per interaction, and the cross-entropy of the answer from one class alone."""
    whole = (("cross_entropy_model", "the whole model"),)
    rows = [
        ("contribution", "contribution\nper interaction", ()),
        ("cross_entropy", "cross-entropy from\none class alone", whole),
    ]
    if any(measures.measured("cross_entropy_bias", [p.main.name]) for p in setting.panels):
        rows.append(("cross_entropy_bias", "cross-entropy, class\nand v(∅)", whole))
    return _over_steps(study, measures, setting, rows, "What the classes contribute")


def losses(study: Study, measures: Measures, setting: Setting) -> Figure | None:
    """Training and held-out loss over the steps, with the end of denoising and the start of overfitting."""
    if all(losses_of(study, panel.main).empty for panel in setting.panels):
        return None
    figure, axes = canvas(1, len(setting.panels))
    for axis, panel in zip(axes[0], setting.panels, strict=True):
        rows = losses_of(study, panel.main)
        if rows.empty:
            say(axis, "no loss was logged")
            continue
        logged = [int(step) for step in rows["step"]]
        # The followed steps name the axis, so that it can be held against the other figures.
        scale = StepScale(tuple(sorted({logged[0], logged[-1], *steps_of(study, panel.main.name)})))
        for name, words, colour, dash in (
            ("train_loss", "training loss", CONTROL, "-"),
            ("heldout_loss", "held-out loss", "#000000", "--"),
        ):
            part = rows[rows["name"] == name]
            if len(part):
                mark = "o" if len(part) < 40 else ""
                axis.plot(scale(part["step"].to_numpy()), part["value"], dash, color=colour, label=words, marker=mark)
        _finish(axis, measures, panel, scale, "cross-entropy of the response")
    one_legend(figure)
    figure.suptitle(
        f"Losses, {plain(setting.title)} (full line: denoising ends; dashed: overfitting starts)", fontsize=9
    )
    return figure


def _over_steps(study: Study, measures: Measures, setting: Setting, rows: list, title: str) -> Figure | None:
    runs = [panel.main.name for panel in setting.panels]
    if not any(measures.measured(name, runs) for name, _, _ in rows):
        return None
    figure, axes = canvas(len(rows), len(setting.panels), height=1.95)
    for row, (name, words, controls) in enumerate(rows):
        for axis, panel in zip(axes[row], setting.panels, strict=True):
            scale = StepScale(tuple(steps_of(study, panel.main.name)) or (0,))
            drawn = [
                draw_series(axis, scale, measures.get(panel.main.name, kind, name), kind, label=kind)
                for kind in (*CLASSES, "all")
                # All interactions together would flatten the classes.
                if kind != "all" or not any(measures.get(panel.main.name, k, name) for k in CLASSES)
            ]
            if not any(drawn):
                axis.set_ylabel(words)
                say(axis, "was not measured in this run")
                continue
            for other in panel.others:
                for kind in CLASSES:
                    draw_series(axis, scale, measures.get(other.name, kind, name), kind, label="", faint=True)
            missing = _controls(axis, measures, panel, scale, controls)
            _finish(axis, measures, panel, scale, words, titled=row == 0)
            if missing:
                note = "control not run: " + ", ".join(missing)
                axis.annotate(note, (0.02, 0.96), xycoords="axes fraction", fontsize=6.5, color="#5b626b", va="top")
        shared = [axis for axis in axes[row] if axis.lines]
        if len(shared) > 1:
            low, high = (pick(axis.get_ylim()[end] for axis in shared) for end, pick in ((0, min), (1, max)))
            for axis in shared:
                axis.set_ylim(low, high)
    seeds = " (thin lines: other seeds)" if any(panel.others for panel in setting.panels) else ""
    one_legend(figure)
    figure.suptitle(f"{title}, {plain(setting.title)}{seeds}", fontsize=9)
    return figure


def _controls(axis: Axes, measures: Measures, panel: Panel, scale: StepScale, controls: tuple) -> list[str]:
    missing = []
    for name, words in controls:
        kinds = [kind for kind in CLASSES if measures.get(panel.main.name, kind, name)] or ["all"]
        drawn = [
            draw_control(
                axis, scale, measures.control(panel.main.name, kind, name), kind, label=words if i == 0 else "_"
            )
            for i, kind in enumerate(kinds)
        ]
        if not any(drawn):
            missing.append(words)
    return missing


def _finish(axis: Axes, measures: Measures, panel: Panel, scale: StepScale, words: str, *, titled: bool = True) -> None:
    step_axis(axis, scale)
    shade_stages(axis, scale, measures, panel.main.name)
    axis.set_ylabel(words)
    if titled:
        axis.set_title(plain(panel.main.short_model, 40))
