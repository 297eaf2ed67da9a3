"""Whether a LLaMA-Factory run was trained on the prompts that are explained."""

import copy
from dataclasses import replace

import pytest

from interact.prompt.system_message import default_system, system_note
from interact.sft.llama_factory_prompt import logged_prompt, prompt_difference
from tests.sft.conftest import examples

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THEIRS = "You are a helpful AI assistant named SmolLM, trained by Hugging Face."


@pytest.fixture
def smollm2(byte_level):
    tokenizer = copy.deepcopy(byte_level)
    tokenizer.chat_template = SMOLLM2
    return tokenizer


@pytest.fixture
def example():
    one = examples(1)[0]
    return replace(one, template=replace(one.template, answer_prefix=""))


def logged(tokenizer, example, folder):
    """Write the log of a run as LLaMA-Factory 0.9.5 does: the first example, the prompt's labels masked."""
    user = example.template.user.replace("{text}", example.text)
    prompt = f"<|im_start|>system\n{THEIRS}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    ids, answer = (tokenizer(part)["input_ids"] for part in (prompt, example.response + "<|im_end|>\n"))
    shown = f"training example:\ninput_ids:\n{ids + answer}\ninputs:\n{prompt}\n\nlabel_ids:\n"
    log = folder / "train.log"
    log.write_text(f"[INFO] loading\n{shown}{[-100] * len(ids) + answer}\nlabels:\n{example.response}\n")
    return log


def test_the_full_stop_is_found_and_mended_by_the_system_message(smollm2, example, tmp_path):
    trained = logged_prompt(logged(smollm2, example, tmp_path))
    found = prompt_difference(smollm2, example, trained)
    assert found is not None and "Face<|im" in found.split("trained was")[0] and "Face.<|i" in found.split("was")[-1]
    same = replace(example, template=replace(example.template, system=THEIRS))
    assert prompt_difference(smollm2, same, trained) is None
    longer = prompt_difference(smollm2, same, trained[:-1])
    assert longer is not None and f"differ from token {len(trained) - 1} on" in longer


def test_a_checkpoint_of_llama_factory_is_named_with_its_sentence(smollm2, byte_level, tmp_path):
    checkpoint = tmp_path / "saves" / "checkpoint-10"
    checkpoint.mkdir(parents=True)
    assert system_note(checkpoint, smollm2) is None
    (tmp_path / "saves" / "trainer_log.jsonl").touch()
    for folder in (checkpoint, checkpoint.parent):
        assert f"with the system message {THEIRS!r}" in str(system_note(folder, smollm2))
    # A template that writes no system message of its own has nothing to differ in.
    assert system_note(checkpoint, byte_level) is None
    smollm2.chat_template = SMOLLM2.replace("named SmolLM", "named Other")
    assert "may have another; compare the two" in str(system_note(checkpoint, smollm2))


def test_the_default_system_message_of_a_template(smollm2, byte_level):
    assert default_system(smollm2) == THEIRS[:-1]
    assert default_system(byte_level) == ""
    smollm2.chat_template = "{{ raise_exception('no system') if messages[0]['role'] == 'system' else 'x' }}"
    assert default_system(smollm2) == ""


def test_a_log_without_an_example_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"The log .*none cannot be read: No such file"):
        logged_prompt(tmp_path / "none")
    (tmp_path / "log").write_text("input_ids:\n[1, 2]\n")
    with pytest.raises(ValueError, match="shows no training example"):
        logged_prompt(tmp_path / "log")
