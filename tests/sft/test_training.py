"""Training: what carries loss, what is kept, and that a kill changes nothing."""

import json
import warnings

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from interact.formats.schema import LOSSES
from interact.prompt.inputs import prepare
from interact.sft.checkpoints import find_checkpoints
from interact.sft.data import Example
from interact.sft.encoding import EncodedExamples
from interact.sft.loss_log import read_losses
from interact.sft.measuring import answer_losses
from interact.sft.training import TrainingOptions, train
from tests.sft.conftest import TEMPLATE, examples, small_classifier, tiny

OPTIONS = TrainingOptions(learning_rate=1e-2, batch_size=2, rank=4, dropout=0.1)
STEPS = (1, 3, 5)


class Kill(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def run(folder, tokenizer, **changes):
    given = {"steps": STEPS, "options": OPTIONS, **changes}
    return train(given.pop("model", None) or tiny(), tokenizer, examples(12), examples(3, 50), folder, **given)


def weights(checkpoint):
    from safetensors.torch import load_file

    name = "adapter_model.safetensors" if (checkpoint / "adapter_config.json").is_file() else "model.safetensors"
    return load_file(checkpoint / name)


def same(one, two):
    one, two = weights(one), weights(two)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def curve(path):
    return [(line["step"], line["name"], line["value"]) for line in read_losses(path)]


@pytest.fixture(scope="module")
def whole(byte_level, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, byte_level)


def test_the_loss_is_on_the_response_and_starts_at_the_followed_token(byte_level):
    (example,) = examples(1)
    encoded = EncodedExamples(tiny(), byte_level, [example], 100)[0]
    inputs = prepare(byte_level, example.text, target=example.response, target_tokens=1, template=TEMPLATE)
    prompt = len(inputs.input_ids)
    assert encoded["input_ids"][:prompt] == list(inputs.input_ids)
    assert encoded["labels"][:prompt] == [-100] * prompt
    assert encoded["labels"][prompt] == inputs.target_ids[0]
    assert encoded["labels"][prompt:] == encoded["input_ids"][prompt:]
    assert byte_level.decode(encoded["labels"][prompt:]) == " negative<|end|>"


def test_padding_changes_no_loss(byte_level):
    some = [*examples(2), Example("long", "witty " * 9, "positive", TEMPLATE)]
    model = tiny()
    single = [answer_losses(model, EncodedExamples(model, byte_level, [e], 200)) for e in some]
    counts = [sum(label != -100 for label in EncodedExamples(model, byte_level, [e], 200)[0]["labels"]) for e in some]
    together = answer_losses(model, EncodedExamples(model, byte_level, some, 200), batch_size=3)
    expected = sum(s.response * c for s, c in zip(single, counts, strict=True)) / sum(counts)
    assert together.response == pytest.approx(expected, rel=1e-5)


class Knows(torch.nn.Module):
    """A model of known losses: probability `word` for each byte of an answer, `end` for the end behind it."""

    def __init__(self, tokenizer, word, end):
        super().__init__()
        self.inner, self.word, self.end, self.stop = tiny(), word, end, tokenizer.eos_token_id
        self.config, self.get_input_embeddings = self.inner.config, self.inner.get_input_embeddings

    def forward(self, input_ids, attention_mask=None, **_):
        follows = torch.roll(input_ids, -1, 1)
        size = self.config.vocab_size
        share = torch.where(follows == self.stop, self.end, self.word)[..., None]
        logits = ((1 - share) / (size - 1)).log().expand(*follows.shape, size).clone()
        return type("Output", (), {"logits": logits.scatter(2, follows[..., None], share.log())})


def test_the_end_of_a_text_does_not_hide_what_is_known_of_its_label(byte_level):
    # The label is known by now, the end is not: a mean of both would call this a poor model.
    some, model = examples(5), Knows(byte_level, word=0.9, end=1e-6)
    encoded = EncodedExamples(model.inner, byte_level, some, 200)
    found = answer_losses(model, encoded, batch_size=2)
    assert found.label == pytest.approx(-np.log(0.9), rel=1e-4) and found.accuracy == 1.0
    assert found.end == pytest.approx(-np.log(1e-6), rel=1e-4)
    assert found.response > 5 * found.label
    # A guess between many is right nowhere, however well the end is known.
    blind = answer_losses(Knows(byte_level, word=1e-5, end=0.99), encoded)
    assert blind.accuracy == 0.0 and blind.label == pytest.approx(-np.log(1e-5), rel=1e-4)
    # Cut before its end, a response has none; and a prompt carries no loss.
    room = min(len(encoded[i]["input_ids"]) for i in range(5)) - 1
    cut = answer_losses(model, EncodedExamples(model.inner, byte_level, some[:1], room))
    assert np.isnan(cut.end) and cut.label == cut.response


def test_checkpoints_and_losses_of_a_training(whole, byte_level):
    folder, found = whole
    assert [p.name for p in found] == ["step-0", "step-1", "step-3", "step-5"]
    assert find_checkpoints(folder) == dict(zip([0, 1, 3, 5], found, strict=True))
    lines = curve(folder / "losses.jsonl")
    names = {name for _, name, _ in lines}
    assert names == set(LOSSES)
    for name in names - {"train_loss"}:
        assert [s for s, other, _ in lines if other == name] == [0, 1, 3, 5]
    assert [s for s, name, _ in lines if name == "train_loss"] == [1, 2, 3, 4, 5]
    assert lines[-1][2] < lines[1][2]
    assert not any(p.name.startswith(".") for p in folder.iterdir())
    before = (folder / "step-5").stat().st_mtime_ns
    assert run(folder, byte_level) == found and (folder / "step-5").stat().st_mtime_ns == before


def test_a_killed_training_ends_in_the_same_weights(whole, byte_level, tmp_path):
    folder, found = whole
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, byte_level, callbacks=[Kill(4)])
    with (tmp_path / "losses.jsonl").open("a") as log:
        log.write('{"step": 4, "na')
    (tmp_path / ".partial-5").mkdir()
    resumed = run(tmp_path, byte_level)
    assert [p.name for p in resumed] == [p.name for p in found]
    assert all(same(one, two) for one, two in zip(found, resumed, strict=True))
    assert curve(tmp_path / "losses.jsonl") == curve(folder / "losses.jsonl")


def test_the_base_model_and_the_random_state_are_given_back(byte_level, tmp_path):
    model = tiny()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    run(tmp_path, byte_level, model=model, steps=(1,))
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.requires_grad for p in model.parameters()) and not model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_all_weights_of_a_classifier_are_trained(wordpiece, tmp_path):
    model = small_classifier()
    options = TrainingOptions(method="full", learning_rate=3e-3, batch_size=4)
    found = train(model, wordpiece, examples(12), examples(12), tmp_path, steps=[12], options=options)
    assert not same(*found) and (found[1] / "tokenizer.json").is_file()
    found = curve(tmp_path / "losses.jsonl")
    before, after = (sum(v for s, name, v in found if s == at and name.endswith("_label_loss")) for at in (0, 12))
    assert after < 0.8 * before
    with pytest.raises(ValueError, match="names 0 labels of this classifier"):
        train(model, wordpiece, [Example("1", "witty", "great")], [], tmp_path / "x", steps=[1])


def test_another_training_in_the_folder_is_refused_with_the_difference(whole, byte_level):
    folder, _ = whole
    with pytest.raises(ValueError, match=r"holds another training \(rank: 4 there, 8 now; seed: 0 there, 1 now\)"):
        run(folder, byte_level, options=TrainingOptions(learning_rate=1e-2, batch_size=2, dropout=0.1, seed=1))
    with pytest.raises(ValueError, match=r"steps: \[0, 1, 3, 5\] there, \[0, 1\] now"):
        run(folder, byte_level, steps=[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "qlora"}, r"method='qlora' is not known; choose one of \['lora', 'full'\]"),
        ({"schedule": "sine"}, "schedule='sine' is not known; choose one of"),
        ({"rank": 0}, "rank must be at least 1, but is 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"warmup": 1.0}, r"warmup and dropout in \[0, 1\)"),
    ],
)
def test_bad_options_are_sentences(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**change)


def test_bad_examples_and_steps_are_sentences(byte_level, tmp_path):
    for given, message in [
        ([Example("e9", "witty", " ")], "The example 'e9' has an empty response"),
        ([], "There are no examples"),
        ([Example("long", "witty " * 300, "positive")], "The example 'long' needs .* tokens .* at most 256 fit"),
    ]:
        with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
            warnings.simplefilter("ignore")
            train(tiny(), byte_level, given, [], tmp_path / "f", steps=[1])
    with pytest.raises(ValueError, match="No step after 0"):
        run(tmp_path / "g", byte_level, steps=[0])
    with pytest.raises(ValueError, match=r"Steps must be whole numbers of 0 or more .* but \[-1\] were given"):
        run(tmp_path / "g", byte_level, steps=[-1])
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="cannot be written"):
        run(tmp_path / "file", byte_level)


# As Python, torch and the tokenizer's Rust say it.
@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . No space left on device"),
        Exception("No space left on device (os error 28)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_is_a_sentence_and_loses_nothing(whole, byte_level, tmp_path, error):
    class Full(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 2:
                raise error

    with pytest.raises(
        RuntimeError, match=r"stopped at step 2, because .*No space left on device.*\. Free some space and run"
    ):
        run(tmp_path, byte_level, callbacks=[Full()])
    assert all(map(same, run(tmp_path, byte_level), whole[1]))
    assert curve(tmp_path / "losses.jsonl") == curve(whole[0] / "losses.jsonl")


def test_an_error_of_the_training_itself_stays_what_it_is(byte_level, tmp_path):
    class Broken(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            raise LookupError("a callback's own")

    with pytest.raises(LookupError, match="a callback's own"):
        run(tmp_path, byte_level, callbacks=[Broken()])


def test_options_are_json(whole):
    folder, _ = whole
    assert json.loads((folder / "training.json").read_text())["learning_rate"] == 1e-2
