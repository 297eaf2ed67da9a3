"""Do interactions raise the alarm over a shortcut, or name memorised examples, better than the loss and the margin do?

    python -m bench.practical_worth --rows docs/results/worth_rows.parquet --out docs/results/worth.parquet

Half an hour on one core; killed, the same line goes on.

The models are those of `bench.planted_study`: a BERT of two layers, trained before on four planted rules, then
fine-tuned on four of which two are new. What is asked was fixed before the first run
(docs/notes/deviations-2026-11.md, 11).

1. *Shortcut alarm.* In RATE of the fine-tuning examples the presence of one word that no rule names is set by the
   label; in a clean run it is drawn by a coin in 95 of 100. The detectors know neither word nor rate. They see 24
   held-out samples, made as the training examples are, at each followed step: the largest rise, since step 0, of a
   word's mean share of the strength (an interaction counts for each of its words by 1/order); the lowest label loss;
   the highest margin.
2. *Memorised examples.* 24 examples have a wrong label, 8 each stand 1, 4 and 16 times among 224 right ones. Detectors
   rank them beside 24 right ones: at the last step the mean order, weighted by strength, and the share of the strength
   that cancels; the loss at the last step; the margin, lowest first, in the mean of all followed steps after 0.

Every score is an area under the ROC: of the alarm over runs, leaking against clean; of the memorised over the examples
of a run.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from bench.planted_study import KEPT, LABELS, NEW, WORDS, WRONG, pretrained, sentences, vocabulary
from interact import Interactions, extract_many
from interact.evolution import non_cancellation
from interact.formats.files import replacing

RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
REPEATS = (1, 4, 16)
LEAK = "wexi"
_PLACES = {str(word): i for i, word in enumerate(WORDS)}
_SAMPLES = 24
_ALARM_STEPS = (0, 20, 40, 80, 160, 320)
_MEMORY_STEPS = (0, 40, 160, 640)
Labelled = tuple[list[str], np.ndarray]


def leaking(count: int, seed: int, rate: float) -> Labelled:
    """Return sentences and labels, 0 or 1, where the word LEAK stands by the label in `rate` of them, or by a coin."""
    texts, labels = sentences(count, seed, KEPT + NEW)
    rng = np.random.default_rng((seed, 1))
    labels = labels ^ (rng.random(count) < WRONG)
    touched = rng.random(count) < (rate or max(RATES))
    there = labels.astype(bool) if rate else rng.random(count) < 0.5
    made = []
    for text, touch, present in zip(texts, touched, there, strict=True):
        words = text.split()
        if touch and present and LEAK not in words:
            words[int(rng.integers(8))] = LEAK
        if touch and not present and LEAK in words:
            others = [word for word in WORDS if word not in words]
            words[words.index(LEAK)] = str(rng.choice(others))
        made.append(" ".join(words))
    return made, labels


def trained(model: Any, tokenizer: Any, data: Labelled, steps: Sequence[int], seed: int) -> Iterator[tuple[int, Any]]:
    """Fine-tune a copy of a model, batches of 8, and yield it at each of the steps."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    batch = tokenizer(data[0], return_tensors="pt", padding=True)
    labels, order = torch.as_tensor(data[1].astype(np.int64)), np.empty(0, dtype=int)
    for step in range(max(steps) + 1):
        if step in steps:
            yield step, model.eval()
        model.train()
        if len(order) < 8:
            order = np.concatenate([order, rng.permutation(len(labels))])
        now, order = order[:8], order[8:]
        model(**{k: v[now] for k, v in batch.items()}, labels=labels[now]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def followed(model: Any, tokenizer: Any, data: Labelled) -> list[Interactions]:
    """Return the interactions of each sentence for its label, in their order."""
    found: dict[int, Interactions] = {}
    for label in (0, 1):
        places = np.flatnonzero(data[1] == label)
        asked: dict[str, Any] = {"players": "all-words", "target": LABELS[label], "progress": False}
        results = extract_many(model, tokenizer, [data[0][i] for i in places], **asked) if len(places) else []
        found |= dict(zip(places.tolist(), results, strict=True))
    return [found[i] for i in range(len(data[0]))]


def shares(results: Sequence[Interactions], texts: Sequence[str]) -> np.ndarray:
    """Return each word's share of the strength, mean over the sentences that hold it; float64 [words]."""
    total, seen = np.zeros(len(WORDS)), np.zeros(len(WORDS))
    for result, text in zip(results, texts, strict=True):
        strength, members = _strengths(result)
        each = (strength / members.sum(1).clip(1)) @ members / max(strength.sum(), 1e-12)
        for share, word in zip(each, text.split(), strict=True):
            total[_PLACES[word]] += share
            seen[_PLACES[word]] += 1
    return total / seen.clip(1)


def _strengths(result: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Return |I| of the AND and OR effects of every set of players but the empty one, and who is in each set."""
    masks = np.arange(1, 1 << result.n)
    members = (masks[:, None] >> np.arange(result.n)) & 1
    strength = np.concatenate([np.abs(effect[1:]) for effect in result.effects()])
    return strength, np.concatenate([members, members])


def margins(model: Any, tokenizer: Any, data: Labelled) -> np.ndarray:
    """Return the log-odds of each sentence's label; float64."""
    with torch.no_grad():
        logits = model(**tokenizer(data[0], return_tensors="pt", padding=True)).logits.double().numpy()
    signs = np.where(data[1] == 1, 1.0, -1.0)
    return signs * (logits[:, 1] - logits[:, 0])


def alarm_rows(model: Any, tokenizer: Any, rate: float, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what each detector of a shortcut says of one run at each step, higher where it is surer."""
    # Seeds of data are apart from those of the model's training before, and differ between rates.
    place = 1_000_000 + 1000 * seed + round(100 * rate)
    data, held = leaking(256, place, rate), leaking(_SAMPLES, place + 500_000, rate)
    before = None
    for step, now in trained(model, tokenizer, data, _ALARM_STEPS, seed):
        share = shares(followed(now, tokenizer, held), held[0])
        before = share if before is None else before
        margin = margins(now, tokenizer, held)
        said = {
            "interactions": float((share - before).max()),
            "loss": -float(np.logaddexp(0, -margin).mean()),
            "margin": float(margin.mean()),
            "word found": float(WORDS[int((share - before).argmax())] == LEAK),
        }
        yield from (
            {"task": "alarm", "level": rate, "run": seed, "step": step, "name": k, "value": v} for k, v in said.items()
        )


def memory_rows(model: Any, tokenizer: Any, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the area under the ROC of each detector of memorised examples, by how often these stood in the data."""
    texts, labels = sentences(224 + _SAMPLES, 3_000_000 + seed, KEPT + NEW)
    wrong = np.arange(len(texts)) < _SAMPLES
    labels = labels ^ wrong
    times = np.where(wrong, np.repeat(REPEATS, _SAMPLES // len(REPEATS)).tolist() + [1] * 224, 1)
    places = np.repeat(np.arange(len(texts)), times)
    data = [texts[i] for i in places], labels[places]
    looked = texts[: 2 * _SAMPLES], labels[: 2 * _SAMPLES]
    sums, values = np.zeros(2 * _SAMPLES), {}
    for step, now in trained(model, tokenizer, data, _MEMORY_STEPS, seed):
        margin = margins(now, tokenizer, looked)
        sums += margin if step else 0
        if step == max(_MEMORY_STEPS):
            results = followed(now, tokenizer, looked)
            values = {
                "mean order": np.array([_mean_order(result) for result in results]),
                "cancelling": np.array([_cancelling(result) for result in results]),
                "loss": -margin,
                "mean margin": -sums,
            }
    for number, repeats in enumerate(REPEATS):
        own = np.arange(8 * number, 8 * number + 8)
        for name, value in values.items():
            area = auc(value[own], value[_SAMPLES:])
            yield {
                "task": "memory",
                "level": repeats,
                "run": seed,
                "step": max(_MEMORY_STEPS),
                "name": name,
                "value": area,
            }


def _mean_order(result: Interactions) -> float:
    strength, members = _strengths(result)
    return float((strength * members.sum(1)).sum() / max(strength.sum(), 1e-12))


def _cancelling(result: Interactions) -> float:
    return 1 - non_cancellation(np.concatenate([effect[1:] for effect in result.effects()]))


def auc(higher: np.ndarray, lower: np.ndarray) -> float:
    """Return how often one of `higher` is above one of `lower`; a tie counts half."""
    above = np.sign(np.asarray(higher)[:, None] - np.asarray(lower)[None])
    return float((above + 1).mean() / 2)


def areas(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the areas under the ROC with 95 % intervals: of the alarm over runs, of the memorised, mean over runs.

    Args:
        rows: What a run wrote: task, level, run, step, name, value.

    Returns:
        Columns task, level, step, name, auc, low, high, best_rival (the better of loss and margin), and gain, gain_low,
        gain_high: the area less the rival's, paired by run. Intervals are 2.5 % and 97.5 % of 2,000 bootstraps over
        runs.
    """
    rng, found = np.random.default_rng(0), []
    if rows["value"].isna().any() or rows.duplicated(["task", "level", "run", "step", "name"]).any():
        raise ValueError("A value is missing, or stands twice; remove the file of rows and run again.")
    for task, level, step, values in _groups(rows):
        count = len(next(iter(values.values())))
        draws = [np.arange(count), *rng.integers(count, size=(2000, count))]
        drawn = {name: np.array([_area(task, own, draw) for draw in draws]) for name, own in values.items()}
        rivals = [name for name in drawn if name in ("loss", "margin", "mean margin")]
        best = max(rivals, key=lambda name: float(drawn[name][0]))
        for name in drawn:
            low, high = np.quantile(drawn[name][1:], (0.025, 0.975))
            gain = drawn[name] - drawn[best]
            worse, better = np.quantile(gain[1:], (0.025, 0.975))
            told = {"task": task, "level": level, "step": step, "name": name}
            told |= {"auc": drawn[name][0], "low": low, "high": high, "best_rival": best}
            found.append(told | {"gain": gain[0], "gain_low": worse, "gain_high": better})
    return pd.DataFrame(found)


def _groups(rows: pd.DataFrame) -> Iterator[tuple[str, float, int, dict[str, np.ndarray]]]:
    """Yield, of a task, level and step, the values of each detector by run; of the alarm, beside clean runs."""
    wide = rows[rows["name"] != "word found"].pivot_table(
        index=["task", "level", "step", "run"], columns="name", values="value"
    )
    for (task, level, step), own in wide.groupby(level=["task", "level", "step"]):
        own = own.dropna(axis=1)
        if task == "memory":
            yield task, level, step, {str(name): own[name].to_numpy() for name in own}
        elif level > 0 and step > 0:
            clean = wide.loc[(task, 0.0, step)]
            runs = own.index.get_level_values("run").intersection(clean.index)
            pairs = {name: (own[name].droplevel([0, 1, 2]).loc[runs], clean[name].loc[runs]) for name in own}
            yield task, level, step, {str(name): np.stack([a, b], 1) for name, (a, b) in pairs.items()}


def _area(task: str, values: np.ndarray, draw: np.ndarray) -> float:
    chosen = values[draw]
    return float(chosen.mean()) if task == "memory" else auc(chosen[:, 0], chosen[:, 1])


def main() -> None:
    """Run what is missing, keep every row, and print the areas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=16, help="of each leak rate, and of the memorised")
    parser.add_argument("--rows", type=Path, default=Path("runs/worth_rows.parquet"), help="what is there stays")
    parser.add_argument("--out", type=Path, help="a Parquet file for the areas, which docs/results.md shows")
    given = parser.parse_args()
    torch.set_num_threads(1)  # The models are too small for more.
    rows = pd.read_parquet(given.rows).to_dict("records") if given.rows.is_file() else []
    known = {(row["task"], row["level"], row["run"]) for row in rows}
    jobs = [("alarm", rate, run) for run in range(given.runs) for rate in RATES if ("alarm", rate, run) not in known]
    jobs += [("memory", 0.0, run) for run in range(given.runs) if ("memory", float(REPEATS[0]), run) not in known]
    tokenizer = vocabulary()
    model = pretrained(tokenizer) if jobs else None
    for task, rate, run in tqdm(jobs, unit="run"):
        made = alarm_rows(model, tokenizer, rate, run) if task == "alarm" else memory_rows(model, tokenizer, run)
        rows += [{**row, "level": float(row["level"])} for row in made]
        _keep(pd.DataFrame(rows), given.rows)
    found = areas(pd.DataFrame(rows))
    if given.out is not None:
        _keep(found, given.out)
    print(found.round(3).to_string(index=False))


def _keep(table: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as place:
        table.to_parquet(place, index=False)


if __name__ == "__main__":
    main()
