"""A study of a transformer on planted AND-OR rules: small enough for minutes, with a truth that is known.

    python -m bench.planted_study --store runs/planted      # killed? the same line goes on
    python -m bench.planted_study --store runs/planted30 --seeds 30 --stops docs/results/stops.parquet

1. A sentence is eight of sixteen made-up words. A rule gives points where all its words are there (AND), or any (OR);
   the label is the sign of the sum.
2. A BERT of two layers learns the first four rules: the model before the fine-tuning.
3. The study fine-tunes it on four rules of which two are the same, two are new, with a fifth of the labels wrong. So
   two rules are to be preserved, two removed, two to emerge, and whatever else emerges late is memorised.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from interact.formats.files import replacing
from interact.study.config import StudyConfig
from interact.study.run import run_study

WORDS = "bado kelu mifa nopi rusa teva zolu gami pevo siku dalo fenu hora jiba lumo wexi".split()
Rule = tuple[str, tuple[int, int], float]
KEPT: tuple[Rule, ...] = (("and", (0, 1), 2.0), ("or", (2, 3), -1.2))
LOST: tuple[Rule, ...] = (("and", (4, 5), -2.0), ("or", (6, 7), 1.2))
NEW: tuple[Rule, ...] = (("and", (8, 9), -2.0), ("or", (10, 11), 1.2))
LABELS = ("negative", "positive")
WRONG = 0.2
"""Share of wrong labels in the fine-tuning."""


def points(present: np.ndarray, rules: tuple[Rule, ...]) -> np.ndarray:
    """Return the points of sentences, bool [sentences, words] to float64 [sentences]."""
    total = np.zeros(len(present))
    for kind, words, value in rules:
        there = present[:, words]
        total += value * (there.all(1) if kind == "and" else there.any(1))
    return total


def sentences(count: int, seed: int, rules: tuple[Rule, ...]) -> tuple[list[str], np.ndarray]:
    """Draw sentences and their labels, 0 or 1."""
    rng = np.random.default_rng(seed)
    chosen = np.stack([rng.permutation(len(WORDS))[:8] for _ in range(count)])
    present = np.zeros((count, len(WORDS)), dtype=bool)
    np.put_along_axis(present, chosen, True, axis=1)
    # Around nothing, the sum of four rules is 0 as often as not; half a word's worth decides it.
    label = points(present, rules) + 0.1 * present[:, 0] - 0.05 > 0
    return [" ".join(WORDS[i] for i in row) for row in chosen], label.astype(int)


def lay_out(folder: Path) -> None:
    """Make the model before the fine-tuning, and the data of the fine-tuning; nothing to do where they are."""
    if (folder / "and-or-rules.jsonl").is_file():
        return
    texts, labels = sentences(3000, 1, KEPT + NEW)
    wrong = np.random.default_rng(2).random(len(labels)) < WRONG
    rows = [{"text": t, "response": LABELS[y ^ bool(w)]} for t, y, w in zip(texts, labels, wrong, strict=True)]
    tokenizer = vocabulary()
    pretrained(tokenizer).save_pretrained(folder / "two-layer-bert")
    tokenizer.save_pretrained(folder / "two-layer-bert")
    with replacing(folder / "and-or-rules.jsonl") as place:
        place.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def vocabulary() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are the words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def untrained(tokenizer: PreTrainedTokenizerFast, seed: int, dropout: float = 0.1) -> BertForSequenceClassification:
    """Return a BERT of two layers with random weights."""
    transformers.set_seed(seed)
    names: dict[int, str] = dict(enumerate(LABELS))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=16,
        id2label=names,
        label2id={label: i for i, label in names.items()},
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config)


def pretrained(tokenizer: PreTrainedTokenizerFast, steps: int = 1500) -> BertForSequenceClassification:
    """Return the model before the fine-tuning: trained on the first four rules."""
    model = untrained(tokenizer, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    for step in range(steps):
        texts, labels = sentences(32, 10_000 + step, KEPT + LOST)
        # Words go missing here too, so that the model knows what [UNK] is: nothing.
        masked = [" ".join(w if rng.random() > 0.3 else "[UNK]" for w in text.split()) for text in texts]
        there = np.array([[w in text.split() for w in WORDS] for text in masked])
        truth = points(there, KEPT + LOST) + 0.1 * there[:, 0] - 0.05 > 0 if step % 2 else labels
        batch = tokenizer(masked if step % 2 else texts, return_tensors="pt", padding=True)
        loss = model(**batch, labels=torch.as_tensor(np.asarray(truth, dtype=np.int64))).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def configuration(folder: Path, seeds: int) -> StudyConfig:
    """Return the study: 256 examples, batch 8, 20 epochs, all weights."""
    return StudyConfig(
        models=(str(folder / "two-layer-bert"),),
        data=(str(folder / "and-or-rules.jsonl"),),
        task="classifier",
        method="full",
        train_examples=256,
        heldout_examples=400,
        max_steps=640,
        batch_size=8,
        learning_rate=5e-4,
        seeds=tuple(range(seeds)),
        steps=(0, 10, 40, 100, 250, 640),
        samples=16,
        training_samples=12,
        players="all-words",
        limit=8,
        baselines=("unk",),
        controls=("noise", "permuted", "labels"),
        device="cpu",
    )


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="the study's store; model and data go beside it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--stops", type=Path, help="a Parquet file for what each stopping rule would have cost")
    given = parser.parse_args()
    place = given.store.with_name(f"{given.store.name}-planted")
    place.mkdir(parents=True, exist_ok=True)
    lay_out(place)
    run_study(given.store, configuration(place, given.seeds))
    if given.stops:
        rows = pd.read_parquet(given.store / "metrics.parquet")
        kept = rows[rows["name"].str.contains("_by_") & (rows["class"] == "all") & (rows["step"] == -1)]
        with replacing(given.stops) as file:
            kept[["run", "name", "value"]].assign(run=kept["run"].str.extract("/seed-([0-9]+)")[0]).to_parquet(file)


if __name__ == "__main__":
    main()
