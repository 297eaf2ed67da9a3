"""Is what is called certain true? Tiny transformers that compute a known AND-OR rule. It is no entry of the registry.

    python -m bench.known_rules --results               # some minutes on one thread; the section of bench/RESULTS.md
    python -m bench.known_rules --samples 2 --steps 200 # a look

1. A rule is six terms over sixteen made-up words, orders 1 to 3, AND or OR; their sum is the log-odds of the label
   "positive". In one world the points of all terms are positive, in the other their signs are mixed.
2. A BERT of two layers learns it from sentences of eight words, some of them [UNK]: from the points themselves (squared
   error of its log-odds), or from labels drawn with the probabilities that they mean. The points less half of their sum
   are what it learns, so that no label is nearly sure. Its log-odds then are the rule, but for what it has not learned.
3. The model is asked as any model is (`interact.extract`, absent words are [UNK]); what is certain of its interactions
   is held against the rule, once without and once with `sigma`: the root mean square of score less rule, which only
   someone who knows the rule can know.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

import interact
from bench import run, table
from bench.planted_study import WORDS, Rule, points, untrained, vocabulary

TAU = 0.05
_BATCH = 128
LESSONS = ("points", "labels")
WORLDS = ("one sign", "mixed signs")
Term = tuple[str, int]


@dataclass
class Count:
    """What was found in the sentences of one kind of model.

    Attributes:
        sentences: How many.
        planted: Terms of the rule that a sentence holds and that lie above the level, summed over sentences.
        salient: Salient interactions.
        salient_true: Those that are terms of the rule with the right sign.
        certain: Certain interactions.
        true: Those that are terms of the rule with the right sign.
        split: Those that are salient with the same sign in the split of the rule's own points.
        squares: Squared differences of scores and rule, each sentence's mean.
    """

    sentences: int = 0
    planted: int = 0
    salient: int = 0
    salient_true: int = 0
    certain: int = 0
    true: int = 0
    split: int = 0
    squares: float = 0.0


def drawn_rules(rng: np.random.Generator, world: str) -> tuple[Rule, ...]:
    """Draw six terms, two of each order from 1 to 3."""
    rules: dict[frozenset[int], Rule] = {}
    while len(rules) < 6:
        order = 1 + len(rules) // 2
        words = tuple(sorted(rng.choice(len(WORDS), order, replace=False).tolist()))
        kind = "and" if order == 1 or rng.random() < 0.5 else "or"
        sign = 1.0 if world == "one sign" or rng.random() < 0.5 else -1.0
        rules[frozenset(words)] = (kind, words, sign * float(rng.uniform(0.5, 1.5)))
    return tuple(rules.values())


def terms_in(rules: tuple[Rule, ...], words: np.ndarray) -> dict[Term, float]:
    """Return the terms of the rule that a sentence can show, by kind and mask of its own words."""
    place = {int(word): i for i, word in enumerate(words)}
    found: dict[Term, float] = {}
    for kind, members, value in rules:
        there = [place[word] for word in members if word in place]
        if not there or (kind == "and" and len(there) < len(members)):
            continue
        # An OR of which one word is there is that word.
        term = (kind if len(there) > 1 else "and", sum(1 << i for i in there))
        found[term] = found.get(term, 0.0) + value
    return found


def middle(rules: tuple[Rule, ...]) -> float:
    """Return half of the sum of all points."""
    return sum(value for _, _, value in rules) / 2


def taught(
    rules: tuple[Rule, ...], lesson: str, tokenizer: PreTrainedTokenizerFast, steps: int, seed: int
) -> torch.nn.Module:
    """Return a transformer of two layers that has learned the rule."""
    model = untrained(tokenizer, seed, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    ids = np.array(tokenizer.convert_tokens_to_ids(list(WORDS)))
    first, last, unknown = (tokenizer.convert_tokens_to_ids(token) for token in ("[CLS]", "[SEP]", "[UNK]"))
    for _ in range(steps):
        words = np.argsort(rng.random((_BATCH, len(WORDS))), axis=1)[:, :8]
        kept = rng.random((_BATCH, 8)) < rng.random((_BATCH, 1))
        present = np.zeros((_BATCH, len(WORDS)), dtype=bool)
        np.put_along_axis(present, words, kept, axis=1)
        odds = points(present, rules) - middle(rules)
        inner = np.where(kept, ids[words], unknown)
        tokens = np.column_stack([np.full(_BATCH, first), inner, np.full(_BATCH, last)])
        logits = model(input_ids=torch.as_tensor(tokens)).logits
        said = logits[:, 1] - logits[:, 0]
        if lesson == "points":
            loss = (said - torch.as_tensor(odds, dtype=torch.float32)).square().mean()
        else:
            drawn = rng.random(_BATCH) < 1 / (1 + np.exp(-odds))
            aims = torch.as_tensor(drawn, dtype=torch.float32)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(said, aims)
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()


def count_sentence(
    found: dict[str, Count],
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    rules: tuple[Rule, ...],
    words: np.ndarray,
) -> None:
    """Add what is certain of one sentence, without and with sigma."""
    text = " ".join(WORDS[i] for i in words)
    result = interact.extract(
        model, tokenizer, text, players="all-words", target="positive", baseline="unk", progress=False
    )
    masks = np.arange(1 << len(words))
    present = np.zeros((len(masks), len(WORDS)), dtype=bool)
    present[:, words] = masks[:, None] >> np.arange(len(words)) & 1
    rule = points(present, rules) - middle(rules)
    assert result.all_scores is not None
    sigma = float(np.sqrt(np.mean((result.all_scores - rule) ** 2)))
    truth = terms_in(rules, words)
    exact = interact.game_from(lambda rows: rule[rows @ (1 << np.arange(len(words)))], len(words)).interactions()
    own = {(i.kind, i.mask): i.effect for i in exact.salient(TAU)}
    salient = {(i.kind, i.mask): i.effect for i in result.salient(TAU)}
    level = TAU * max((abs(effect) for effect in salient.values()), default=0.0)
    for name, known in (("", None), ("sigma", sigma)):
        frame = result.certainty(tau=TAU, sigma=known)
        sure = frame[frame["status"] == "certain"]
        certain = dict(zip(zip(sure["kind"], sure["mask"].astype(int), strict=True), sure["effect"], strict=True))
        one = found.setdefault(name, Count())
        one.sentences += 1
        one.squares += sigma**2
        one.planted += sum(abs(value) > level for value in truth.values())
        one.salient += len(salient)
        one.salient_true += sum(effect * truth.get(term, 0.0) > 0 for term, effect in salient.items())
        one.certain += len(certain)
        one.true += sum(effect * truth.get(term, 0.0) > 0 for term, effect in certain.items())
        one.split += sum(effect * own.get(term, 0.0) > 0 for term, effect in certain.items())


def measure(models: int, samples: int, steps: int, say: Callable[[str], None]) -> dict[tuple[str, str, str], Count]:
    """Return the counts by world, lesson and whether sigma was given."""
    tokenizer = vocabulary()
    found: dict[tuple[str, str, str], Count] = {}
    for lesson in LESSONS:
        for world in WORLDS:
            counts: dict[str, Count] = {}
            for seed in range(models):
                begun = time.perf_counter()
                rng = np.random.default_rng([seed, WORLDS.index(world)])
                rules = drawn_rules(rng, world)
                model = taught(rules, lesson, tokenizer, steps, seed)
                for _ in range(samples):
                    # Sentences that hold most of the rule; a random one holds one term of three words in ten.
                    drawn = [rng.permutation(len(WORDS))[:8] for _ in range(200)]
                    words = max(drawn, key=lambda row: len(terms_in(rules, row)) + 0.5 * rng.random())
                    count_sentence(counts, model, tokenizer, rules, words)
                say(f"{world}, {lesson}, model {seed}: {time.perf_counter() - begun:.0f} s")
            rows = {(world, lesson, name): one for name, one in counts.items()}
            found |= rows
            say(markdown(rows))
    return found


def markdown(found: dict[tuple[str, str, str], Count]) -> str:
    """Return the table."""
    head = (
        *("rule", "learned from", "score less rule, rms", "sentences", "sigma", "salient", "true", "certain"),
        *("true of the rule", "of its split", "true terms that are certain"),
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    share = lambda part, whole: f"{part / whole:.2f}" if whole else ""  # noqa: E731
    for (world, lesson, sigma), one in found.items():
        cells = (
            *(world, lesson, f"{(one.squares / one.sentences) ** 0.5:.3f}", one.sentences, "known" if sigma else ""),
            *(one.salient, share(one.salient_true, one.salient), one.certain, share(one.true, one.certain)),
            *(share(one.split, one.certain), f"{share(one.true, one.planted)} of {one.planted}"),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the section of bench/RESULTS.md where `--results` says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1, help="models of each world and lesson")
    parser.add_argument("--samples", type=int, default=8, help="sentences of each model")
    parser.add_argument("--steps", type=int, default=1000, help="steps of a training")
    parser.add_argument("--results", action="store_true", help="rewrite the section of bench/RESULTS.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    found = measure(given.models, given.samples, given.steps, print)
    seconds = time.process_time() - begun
    body = markdown(found)
    print(body)
    if given.results:
        path = Path(__file__).with_name("RESULTS.md")
        options = f"--models {given.models} --samples {given.samples} --steps {given.steps}"
        line = f"`python -m bench.known_rules {options} --results` on {run.machine()}; {seconds:.0f} processor seconds."
        path.write_text(table.replace_section(path.read_text(), "known rules", f"{line}\n\n{body}"))


if __name__ == "__main__":
    main()
