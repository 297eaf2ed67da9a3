"""Two steps of a real fine-tuning of SmolLM2-135M-Instruct, followed."""

import pytest

import interact
from interact import embedded
from interact.models.load import load_model
from interact.sft.checkpoints import load_checkpoint
from interact.sft.data import read_examples, split_examples
from interact.sft.loss_log import read_losses
from interact.sft.training import TrainingOptions, train

pytestmark = pytest.mark.real


def test_a_real_training_is_followed(tmp_path):
    folder = embedded.find("smollm2")
    if folder is None or embedded.find("reviews") is None:
        pytest.skip("SmolLM2 or the reviews are not in the cache; run `interact fetch smollm2 reviews`")
    model, tokenizer = load_model(str(folder))
    short = [e for e in read_examples("reviews") if 4 <= len(e.text.split()) <= 8]
    split = split_examples(short, heldout=4, follow=1)
    callback = interact.InteractionCallback(split.follow, players=3, steps=[2])
    options = TrainingOptions(batch_size=2, learning_rate=1e-3, warmup=0.0)
    found = train(
        model, tokenizer, split.train, split.heldout, tmp_path, steps=[2], options=options, callbacks=[callback]
    )
    held = [line["value"] for line in read_losses(tmp_path / "losses.jsonl") if line["name"] == "heldout_loss"]
    assert held[1] < held[0] and callback.steps == (0, 2)
    trained, tokenizer = load_checkpoint("smollm2", found[-1])
    sample = split.follow[0]
    again = interact.extract(
        trained,
        tokenizer,
        sample.text,
        players=3,
        target=sample.response,
        target_tokens=1,
        template=sample.template,
        progress=False,
    )
    assert float(again.values[-1]) == pytest.approx(callback.cells["total"].iloc[-1], abs=1e-3)
