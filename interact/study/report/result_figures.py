"""Figures of the results themselves: fidelity, sparsity, and the AND-OR logic model of one prompt.

They follow figures 5, 6 and 9 of Zhang et al. 2026 (arXiv 2605.17967). A column is a model.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interact.formats.labels import labels
from interact.results import Interaction, Interactions
from interact.study.report.drawing import COLOURS, CONTROL, NEGATIVE, POSITIVE, canvas, plain, say, title
from interact.study.report.results import Results, relative_strengths
from interact.study.report.runs import Setting, steps_of
from interact.study.report.store import Study

_MOST_SAMPLES = 40
_GATES = 10


def fidelity(study: Study, results: Results, setting: Setting) -> Figure | None:
    """Fig 5: all scores of one prompt against those rebuilt from its salient interactions, and all relative errors."""
    figure, axes = canvas(2, len(setting.panels), height=2.0)
    drawn = False
    for column, panel in zip(axes.T, setting.panels, strict=True):
        steps = steps_of(study, panel.main.name)
        step = steps[-1] if steps else 0
        samples = results.samples(panel.main.name)
        loaded = ((s, results.get(panel.main.name, step, s)) for s in samples[:_MOST_SAMPLES])
        # What the study calls salient, by its own rule.
        kept = [(study.tau_of(panel.main.name, step, s), result) for s, result in loaded if result is not None]
        found = [result.fidelity(tau) for tau, result in kept]
        if not found:
            say(column[0], "no result of the last step can be read")
            say(column[1], "")
            continue
        drawn = True
        first = found[0]
        rank = np.arange(len(first.values))
        column[0].plot(rank, first.values, color="#000000", label="score v(S)")
        dots = {"marker": ".", "markersize": 2.5, "linestyle": "none", "color": COLOURS["emerged"]}
        column[0].plot(rank, first.rebuilt, label=f"rebuilt from {first.terms}", **dots)
        column[0].set_xlabel("masked inputs, sorted by score")
        column[0].set_ylabel("log-odds of the answer")
        column[0].set_title(f"{plain(panel.main.short_model, 40)}, step {step}")
        column[0].legend(
            title=f"first of {len(found)} prompts, R² {first.r2:.3f}, τ {kept[0][0]:.3g}", title_fontsize=7
        )
        errors = np.concatenate([f.errors for f in found])
        widest = float(np.abs(errors).max()) or 1.0
        weights = np.full(len(errors), 1 / len(errors))
        column[1].hist(errors, bins=np.linspace(-widest, widest, 42), weights=weights, color=COLOURS["preserved"])
        column[1].set_xlabel("error / |v(N) - v(∅)|")
        column[1].set_ylabel("share of masked inputs")
    title(figure, f"Fidelity of the salient interactions, {plain(setting.title)}")
    return figure if drawn else None


def sparsity(study: Study, setting: Setting) -> Figure | None:
    """Fig 6: relative strengths |I| / max|I| of all interactions, sorted, pooled over samples; first and last step."""
    figure, axes = canvas(1, len(setting.panels))
    drawn = False
    for axis, panel in zip(axes[0], setting.panels, strict=True):
        rows = study.interactions[study.interactions["run"] == panel.main.name]
        steps = sorted({int(step) for step in rows["step"]})
        for step, colour, dash in zip(
            dict.fromkeys([*steps[:1], *steps[-1:]]), (CONTROL, "#000000"), ("--", "-"), strict=False
        ):
            part = rows[rows["step"] == step]
            strengths = np.sort(relative_strengths(part).to_numpy())[::-1]
            salient = int(part["salient"].sum())
            label = f"step {step}: {salient} of {len(part)} salient"
            axis.plot(np.arange(1, len(strengths) + 1), strengths, dash, color=colour, label=label)
            drawn = True
        if not steps:
            say(axis, "no interactions are in the tables")
            continue
        axis.set_yscale("log")
        axis.minorticks_off()
        axis.set_xlabel("interactions that are not zero, strongest first")
        axis.set_ylabel("|I| / max |I|")
        axis.set_title(plain(panel.main.short_model, 40))
        axis.legend()
    title(figure, f"Sparsity, {plain(setting.title)}")
    return figure if drawn else None


def logic_models(study: Study, results: Results, setting: Setting) -> Figure | None:
    """Fig 9: the AND-OR logic model of one prompt, the first two models side by side, at the last step of each."""
    panels = setting.panels[:2]
    followed = [results.samples(panel.main.name) for panel in panels]
    shared = [sample for sample in followed[0] if all(sample in other for other in followed)] or followed[0]
    for sample in shared:
        steps = [(results.steps(panel.main.name, sample) or [0])[-1] for panel in panels]
        found = [results.get(p.main.name, step, sample) for p, step in zip(panels, steps, strict=True)]
        shown = [(p, s, r) for p, s, r in zip(panels, steps, found, strict=True) if r is not None]
        if shown:
            break
    else:
        return None
    figure, axes = canvas(1, len(shown), width=4.4, height=3.4)
    for axis, (panel, step, result) in zip(axes[0], shown, strict=True):
        known = study.statuses_of(panel.main.name, step, sample)
        draw_logic(axis, result, result.top(_GATES), known)
        sure = sum(status == "certain" for status in known.values())
        certain = f"\n{sure} of {len(known)} salient are certain, the others pale and dashed" if known else ""
        axis.set_title(f"{plain(panel.main.short_model, 40)}, step {step}{certain}")
    text = "\n".join(textwrap.wrap(plain(shown[0][2].text, 200), 52 * len(shown)))
    figure.suptitle(text, fontsize=8.5)
    return figure


def draw_logic(
    axis: Axes,
    result: Interactions,
    terms: Sequence[Interaction],
    known: Mapping[tuple[str, int], str] | None = None,
) -> None:
    """Draw words on the left, a gate for each interaction, and its effect as a bar on the right.

    Args:
        axis: Where to draw.
        result: The result.
        terms: The interactions.
        known: Status of each salient interaction, by kind and mask; what is not certain is pale and dashed.
    """
    axis.set_axis_off()
    axis.set_xlim(-0.32, 1.15)
    axis.set_ylim(1.04, -0.04)
    if not terms:
        axis.text(0.4, 0.5, "the score does not depend on the players", ha="center", fontsize=8)
        return
    word_at = np.linspace(0, 1, result.n) if result.n > 1 else np.array([0.5])
    gate_at = np.linspace(0.02, 0.98, len(terms)) if len(terms) > 1 else np.array([0.5])
    longest = max(abs(term.effect) for term in terms)
    for label, y in zip(labels([player.text for player in result.players], 16), word_at, strict=True):
        axis.text(-0.02, y, plain(label, 99), ha="right", va="center", fontsize=8)
    for term, y in zip(terms, gate_at, strict=True):
        colour = POSITIVE if term.effect >= 0 else NEGATIVE
        share = abs(term.effect) / longest
        single = term.order == 1
        sure = not known or known.get((term.kind, term.mask)) == "certain"
        line, fade = ("-", 1.0) if sure else ("--", 0.5)
        for i in (i for i in range(result.n) if term.mask >> i & 1):
            end = 0.6 if single else 0.42
            axis.plot(
                [0, end], [word_at[i], y], color=colour, alpha=fade * (0.25 + 0.55 * share), linewidth=0.6 + 1.6 * share
            )
        if not single:
            axis.plot([0.42, 0.6], [y, y], color=colour, alpha=fade, linewidth=0.6 + 1.6 * share)
            # Square corners are AND, round ones OR, for readers of a grey print.
            corner = "square,pad=0.22" if term.kind == "and" else "round4,pad=0.3"
            box = {"boxstyle": corner, "facecolor": "white", "edgecolor": colour, "linewidth": 1.0, "linestyle": line}
            axis.text(0.42, y, term.kind.upper(), ha="center", va="center", fontsize=6.5, bbox=box)
        edge = {"edgecolor": colour, "linestyle": line, "linewidth": 0.8}
        axis.barh(y, 0.36 * share, left=0.6, height=0.55 / max(len(terms), 8), facecolor=(colour, fade**2), **edge)
        axis.text(0.62 + 0.36 * share, y, f"{term.effect:+.2f}", va="center", fontsize=7.5)
