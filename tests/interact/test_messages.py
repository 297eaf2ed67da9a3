"""Prompts as people write them: players in any message, found exactly where the chat template writes them."""

import json

import numpy as np
import pytest
import torch

import interact
from interact import PlayerChoice, Template, prepare
from interact.command.main import main
from tests.interact.conftest import causal
from tests.reported.ground import TURN, letters, tiny, told

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "good film?"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "bad film?"},
    {"role": "assistant", "content": "no"},
    {"role": "user", "content": "a witty movie?"},
]
TOOLS = [
    {"role": "user", "content": "what does it cost?"},
    {"role": "assistant", "tool_calls": [{"function": {"name": "price", "arguments": {}}}]},
    {"role": "tool", "content": "five dollars", "name": "price"},
    {"role": "tool", "content": "six in Rome", "name": "price"},
]


def seen(tokenizer, **asked):
    """Return what the tokens of each player say, and what the players are called."""
    inputs = prepare(tokenizer, target=70, **asked)
    return [tokenizer.decode(inputs.input_ids[a:b]) for a, b in inputs.spans], [p.text for p in inputs.players]


@pytest.mark.parametrize(
    ("players", "words"),
    [
        (None, ["witty", "movie"]),
        (1, ["witty"]),
        ("all-words", ["a", "witty", "movie"]),
        (PlayerChoice("words", messages=0), ["brief"]),
        (PlayerChoice("words", messages=(1, -1)), ["good", "film", "witty", "movie"]),
        (PlayerChoice("words", messages="assistant"), ["yes", "no"]),
        (["Be brief", "witty"], ["Be brief", "witty"]),
        ([(0, 3, 8), (4, 0, 2)], ["brief", "no"]),
        ("messages", [m["content"] for m in TALK]),
        ([], []),
    ],
)
def test_players_are_found_in_any_message(players, words):
    tokens, texts = seen(letters(TURN), messages=TALK, players=players)
    assert tokens == texts and (texts == words or (players == 1 and len(texts) == 1))


def test_an_example_is_a_question_with_its_answer():
    tokens, texts = seen(letters(TURN), messages=TALK, players="examples")
    assert texts == ["good film?\n\nyes", "bad film?\n\nno"]
    assert tokens == [
        f"{a}<|im_end|>\n<|im_start|>assistant\n{b}" for a, b in (("good film?", "yes"), ("bad film?", "no"))
    ]


def test_marks_go_from_every_message():
    marked = [{"role": "system", "content": "Be [[brief]]."}, {"role": "user", "content": "a [[witty movie]]"}]
    tokens, texts = seen(letters(TURN), messages=marked, players="marked")
    assert tokens == texts == ["brief", "witty movie"]


def test_documents_are_results_of_tools_tags_or_what_the_template_is_handed():
    chat = TURN.replace("{{ m.content }}", "{{ m.content or '' }}")
    assert seen(letters(chat), messages=TOOLS, players="documents")[0] == ["five dollars", "six in Rome"]
    tagged = [{"role": "user", "content": "<doc id=1>It is five.</doc> <doc id=2> It is six. </doc> What is it?"}]
    assert seen(letters(TURN), messages=tagged, players="documents")[0] == ["It is five.", "It is six."]
    handed = {"documents": [{"title": "A", "text": "It is five."}, {"title": "B", "text": "It is five."}]}
    chat = "{% for d in documents or [] %}[{{ d.title }}] {{ d.text }}\n{% endfor %}" + TURN
    asked = {"messages": [{"role": "user", "content": "What is it?"}], "template": Template(arguments=handed)}
    tokens, texts = seen(letters(chat), players="documents", **asked)
    assert tokens == texts == ["It is five.", "It is five."]
    with pytest.raises(ValueError, match=r"No players \(documents\)"):
        prepare(letters(TURN), messages=TALK, players="documents")
    with pytest.raises(ValueError, match=r"Documents that are players must be a list"):
        template = Template(arguments={"documents": ["five"]})
        prepare(letters(chat), messages=TALK, players="documents", template=template)


@pytest.mark.parametrize("content", ["m.content", "m.content | trim"])
def test_equal_messages_and_trimmed_ones_are_told_apart(content):
    again = [{"role": role, "content": "  good film \n"} for role in ("user", "assistant", "user")]
    tokenizer = letters(TURN.replace("m.content", content))
    inputs = prepare(tokenizer, messages=again, players="messages", target=70)
    starts = [a for a, _ in inputs.spans]
    assert [p.text for p in inputs.players] == ["good film"] * 3 and starts == sorted(set(starts))
    assert [tokenizer.decode(inputs.input_ids[a:b]) for a, b in inputs.spans] == ["good film"] * 3


def test_a_message_of_players_that_the_template_changes_is_refused_and_others_are_told():
    # As thinking models do with earlier turns.
    chat = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content.split('</think>')[-1] if m.role == 'assistant' else m.content }}<|im_end|>\n{% endfor %}"
    )
    thought = [TALK[1], {"role": "assistant", "content": "<think>hm</think>yes"}, TALK[-1]]
    with told() as sentences:
        inputs = prepare(letters(chat), messages=thought, target=70)
    assert len(sentences) == 1 and "does not write message 1 (assistant) as it stands" in inputs.notes[0]
    with pytest.raises(ValueError, match=r"^Of message 1 \(assistant\): .*writes more that depends on|changes"):
        prepare(letters(chat), messages=thought, players="messages")


def test_a_message_that_the_template_leaves_out_is_told():
    chat = "{% for m in messages if m.role != 'system' %}{{ m.content }}<|im_end|>{% endfor %}"
    with told() as sentences:
        prepare(letters(chat), messages=TALK)
        prepare(letters(chat), "a witty movie", template=Template(system="Be brief."))
    assert ["message 0 (system)" in sentences[0], "the system message" in sentences[1], len(sentences)] == [
        True,
        True,
        2,
    ]


def test_a_control_token_in_any_message_is_plain_text():
    typed = [
        {"role": "system", "content": "Say <|im_end|> never."},
        {"role": "user", "content": "good <|im_end|> film"},
    ]
    tokenizer = letters(TURN)
    with told() as sentences:
        inputs = prepare(tokenizer, messages=typed, players=["film"], target=70)
    assert inputs.input_ids.count(2) == 2 and "plain text" in sentences[0] and len(sentences) == 1
    low, high = inputs.spans[0]
    assert tokenizer.decode(inputs.input_ids[low:high]) == "film"


def test_one_user_message_is_the_text_itself():
    tokenizer, model = letters(TURN), tiny(letters(TURN))
    asked = {"players": 2, "target": 70, "template": Template(answer_prefix="It is")}
    text = interact.extract(model, tokenizer, "a witty movie", **asked)
    said = interact.extract(model, tokenizer, messages=[{"role": "user", "content": "a witty movie"}], **asked)
    assert np.array_equal(text.values, said.values) and text.players == said.players and text.text == said.text


def test_parts_of_text_are_joined_and_others_refused():
    parts = [{"type": "text", "text": "a witty "}, {"type": "text", "text": "movie"}]
    image = {"type": "image_url", "image_url": {"url": "a.png"}}
    tokenizer = letters(TURN)
    assert seen(tokenizer, messages=[{"role": "user", "content": parts}])[1] == ["witty", "movie"]
    with pytest.raises(ValueError, match=r"Message 0 has a part of the kind 'image_url', but interact explains text"):
        prepare(tokenizer, messages=[{"role": "user", "content": [*parts, image]}])


def test_a_template_that_wants_parts_gets_parts():
    chat = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}<|im_end|>{% endfor %}"
    assert seen(letters(chat), messages=TALK, players="messages")[0] == [m["content"] for m in TALK]


def test_arguments_reach_the_template_and_an_open_thought_is_told():
    chat = TURN + "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
    with told() as sentences:
        prepare(letters(chat), messages=TALK, target="yes", target_tokens=1)
    assert "ends inside a thought" in sentences[0]
    with told() as sentences:
        closed = Template(arguments={"enable_thinking": False})
        prepare(letters(chat), messages=TALK, target="yes", target_tokens=1, template=closed)
        prepare(letters(chat), messages=TALK, template=Template(arguments={"documents": []}))
    assert len(sentences) == 1 and "does not use documents" in sentences[0]


def test_a_template_that_prints_the_time_is_found():
    tokenizer = letters("Now {{ strftime_now('%S.%f') }}\n" + TURN)
    assert seen(tokenizer, messages=TALK, players="messages")[0] == [m["content"] for m in TALK]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"text": "a", "messages": TALK}, "both were given"),
        ({}, "neither were given"),
        ({"messages": []}, "must be a list such as"),
        ({"messages": "hello"}, "must be a list such as"),
        ({"text": TALK}, "pass messages as messages="),
        ({"messages": [{"content": "a"}]}, "Message 0 must be a mapping with a role"),
        ({"messages": [{"role": "user", "content": " "}]}, r"Message 0 \(user\) is empty"),
        ({"messages": [{"role": "user", "content": 3}]}, "must be text, but is a int"),
        ({"messages": TALK[:3]}, "The last message is the assistant's"),
        ({"messages": TALK, "template": "Say {text}"}, "a template holds no user or system message"),
        ({"messages": TALK, "template": Template(chat=False)}, "Messages need a chat template"),
        ({"messages": TALK, "players": ["film"]}, r"occurs in 2 messages; .*\(1, 5, 9\) or \(3, 4, 8\)"),
        ({"messages": TALK, "players": ["cat"]}, "is in no message"),
        ({"messages": TALK, "players": [(9, 0, 1)]}, "There is no message 9 among 6"),
        ({"messages": TALK, "players": [(0, 0, 99)]}, "lies outside the 9 characters of message 0"),
        ({"messages": TALK, "players": [(5, 20)]}, "is in no message"),
        ({"messages": TALK, "players": PlayerChoice(messages=7)}, "There is no message 7 among 6"),
        ({"messages": TALK, "players": PlayerChoice(messages="tool")}, "No message with words has the role 'tool'"),
        ({"messages": [{"role": "human", "content": "a film"}]}, "No message has the role user"),
        ({"messages": [TALK[-1]], "players": "examples"}, r"No players \(examples\)"),
        ({"text": "a film", "players": "messages"}, "one of a conversation"),
        ({"text": "a film", "players": PlayerChoice(messages=0)}, "is for a prompt of messages"),
    ],
)
def test_what_is_no_conversation_is_a_sentence(asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        prepare(letters(TURN), **asked)


@pytest.mark.parametrize("masking", ["baseline", "attention", "text"])
def test_an_absent_message_changes_the_score_and_the_whole_is_the_models(byte_level, masking):
    model = causal()
    result = interact.extract(
        model,
        byte_level,
        messages=TALK,
        players="examples",
        target=70,
        masking=masking,
        template=Template(answer_prefix="It is"),
    )
    ids = result.provenance["input_ids"]
    logits = model(torch.tensor([ids])).logits[0, -1].detach()
    others = torch.cat([logits[:70], logits[71:]]).logsumexp(0)
    assert result.total == pytest.approx(float(logits[70] - others), abs=1e-4)
    assert result.provenance["messages"] == TALK and len(set(result.values.round(5))) == 4


def test_many_conversations_are_kept_and_gone_on_with(byte_level, tmp_path):
    model, talks = causal(), [TALK, TALK[:2]]
    asked = {"messages": talks, "folder": tmp_path, "players": "all-words", "target": 70}
    first = interact.extract_many(model, byte_level, **asked)
    again = interact.extract_many(model, byte_level, **asked)
    assert [r.text for r in first] == [r.text for r in again] and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match=r"messages is one conversation"):
        interact.extract_many(model, byte_level, messages=TALK)
    with pytest.raises(ValueError, match=r"and not both"):
        interact.extract_many(model, byte_level)


@pytest.mark.parametrize("layout", ["one", "object", "several", "lines"])
def test_the_command_line_reads_conversations(layout, byte_level, tmp_path, capsys):
    causal().save_pretrained(tmp_path / "model")
    byte_level.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ date_string }}\n" + TURN)
    content = {
        "one": json.dumps(TALK),
        "object": json.dumps({"messages": TALK}),
        "several": json.dumps([TALK, TALK]),
        "lines": "\n".join(json.dumps({"messages": TALK}) for _ in range(2)),
    }[layout]
    (tmp_path / "talk.json").write_text("\ufeff" + content, "utf-8")
    asked = ["--players", "examples", "--template-arguments", '{"date_string": "1 Jan"}', "--device", "cpu", "--json"]
    with pytest.raises(SystemExit) as left:
        main(["extract", "--model", str(tmp_path / "model"), "--messages", str(tmp_path / "talk.json"), *asked])
    told = capsys.readouterr()
    assert left.value.code == 0, told.err
    results = [json.loads(line) for line in told.out.splitlines()]
    assert len(results) == (1 if layout in ("one", "object") else 2)
    assert results[0]["players"] == ["good film?\n\nyes", "bad film?\n\nno"]
    assert results[0]["provenance"]["template"]["arguments"] == {"date_string": "1 Jan"}
    assert byte_level.decode(results[0]["provenance"]["input_ids"]).startswith("1 Jan\n")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1]", "must hold messages"),
        ("{", "is not JSON"),
        ("[]", "holds no conversation"),
        ('"a"', "must hold messages"),
    ],
)
def test_files_without_conversations_are_sentences(content, sentence, tmp_path, capsys):
    (tmp_path / "talk.json").write_text(content)
    with pytest.raises(SystemExit) as left:
        main(["extract", "--model", "none", "--messages", str(tmp_path / "talk.json")])
    assert left.value.code == 2 and sentence in capsys.readouterr().err


def test_whole_words_come_first_in_messages_too():
    talk = [{"role": "system", "content": "the party is over"}, {"role": "user", "content": "modern art of the party"}]
    assert seen(letters(TURN), messages=talk, players=["art", "art"])[1] == ["art", "art"]
    assert seen(letters(TURN), messages=talk, players=["art"])[1] == ["art"]


@pytest.mark.parametrize(
    ("players", "sentence"),
    [
        (PlayerChoice("messages", messages="system"), "says whose words are players, but the players are the messages"),
        (PlayerChoice("words", messages=1.5), "There is no message 1.5 among 6"),
        (PlayerChoice("words", messages=(0, "a")), "There is no message 'a' among 6"),
    ],
)
def test_a_choice_of_messages_that_means_nothing_is_refused(players, sentence):
    with pytest.raises(ValueError, match=sentence):
        prepare(letters(TURN), messages=TALK, players=players, target=70)


def test_a_place_of_a_message_may_be_any_whole_number():
    assert seen(letters(TURN), messages=TALK, players=PlayerChoice("words", messages=np.int64(0)))[1] == ["brief"]
