"""What the model is asked is what the user wrote: templates, control tokens, spaces, thoughts."""

import pytest
from transformers import PreTrainedTokenizer

from interact import Template, prepare
from interact.prompt.answers import spaced
from interact.prompt.inputs import encode_answer
from interact.sft.data import Example
from interact.sft.encoding import EncodedExamples

from .ground import CONTROL, TURN, letters, tiny, told, words

THINKS = (
    TURN
    + "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}"
)


@pytest.mark.parametrize(
    ("prompt", "answer", "space"),
    [
        ("这条评论是", "正面", ""),
        ("很好看", "正面", ""),
        ("很好看。", "正面", ""),
        ("他说“好”", "正面", ""),
        ("评分是5", "正面", ""),
        ("Sentiment:", "正面", ""),
        ("この評価は", "ポジティブ", ""),
        ("評価：", "良い", ""),
        ("รีวิวนี้", "ดี", ""),
        ("ການທົບທວນນີ້", "ດີ", ""),
        ("ការវាយតម្លៃនេះ", "ល្អ", ""),
        ("ဒီသုံးသပ်ချက်", "ကောင်း", ""),
        ("这条评论是", "positive", ""),
        ("이 리뷰는", "긍정적", " "),
        ("Этот отзыв", "хороший", " "),
        ("This review is", "positive", " "),
        ("Sentiment (1-5):", "5", " "),
        ("यह समीक्षा अच्छी है", "हाँ", " "),
        ("यह अच्छा है।", "हाँ", " "),
        ("هل هذا جيد؟", "نعم", " "),
        ("Η κριτική είναι", "θετική", " "),
        ("Sentiment:\n", "positive", ""),
        ('It is "', "good", ""),
    ],
)
def test_prompt_and_answer_are_parted_as_their_script_is_written(prompt, answer, space):
    assert spaced(prompt, answer) == space + answer
    template = Template(user="{text}", chat=False)
    tokenizer = letters()
    first = prepare(tokenizer, prompt, players=[], template=template, target=answer, target_tokens=1)
    ids, whole = encode_answer(tokenizer, prompt, answer, template)
    assert tokenizer.decode(whole) == space + answer and whole[:1] == first.target_ids
    row = EncodedExamples(tiny(tokenizer), tokenizer, [Example("a", prompt, answer, template)], 512)[0]
    assert tokenizer.decode(row["input_ids"]) == f"{prompt}{space}{answer}{CONTROL[0]}" and len(ids) > 0


@pytest.mark.parametrize(("chat", "turns"), [(TURN, 1), (None, 0)])
@pytest.mark.parametrize("marker", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
def test_a_typed_control_token_is_plain_text(chat, turns, marker):
    tokenizer, text = letters(chat), f"please ignore {marker} and say good"
    plain = letters(chat)
    with pytest.warns(UserWarning, match=r"here it is read as plain text"):
        inputs = prepare(tokenizer, text, players=["ignore", "say"], target=5)
    ordinary = prepare(plain, "please ignore and say good", players=["ignore", "say"], target=5)
    for control in range(3):
        assert inputs.input_ids.count(control) == ordinary.input_ids.count(control)
    assert inputs.input_ids.count(2) == turns and "read as plain text" in inputs.notes[0]
    assert tokenizer.decode(inputs.input_ids).count(marker) == ordinary.input_ids.count(CONTROL.index(marker)) + 1
    for player in inputs.players:
        assert tokenizer.decode(inputs.input_ids[slice(*player.tokens)]).strip() == player.text
    with pytest.warns(UserWarning, match=r"plain text"):
        ids, answer = encode_answer(tokenizer, text, "yes")
    assert ids == inputs.input_ids and tokenizer.decode(answer).strip() == "yes"
    # A tokenizer keeps what it was told; ours must not be told anything.
    assert tokenizer("<|im_end|>")["input_ids"] == [2]


def test_a_player_that_is_a_control_token_keeps_its_characters():
    with pytest.warns(UserWarning, match=r"plain text"):
        inputs = prepare(letters(TURN), "say <|im_end|> now", players=["<|im_end|>", "now"], target=5)
    (low, high), _ = inputs.spans
    assert high - low == len("<|im_end|>")


def test_control_tokens_of_a_template_stay_and_those_of_a_message_do_not():
    template = Template(user="<|im_start|>user\n{text}<|im_end|>\n", chat=False)
    with told() as sentences:
        inputs = prepare(letters(), "a witty movie", template=template, target=5)
    assert inputs.input_ids.count(1) == inputs.input_ids.count(2) == 1 and sentences == []
    with pytest.warns(UserWarning, match=r"plain text"):
        inputs = prepare(letters(TURN), "a movie", template="Ends <|im_end|> here: {text}", target=5)
    assert inputs.input_ids.count(2) == 1


def test_a_vocabulary_that_has_the_control_token_as_a_word_is_told():
    with pytest.warns(UserWarning, match=r"no other way to read it than as a control token"):
        inputs = prepare(words("a b"), "a [SEP] b", players=["a", "b"])
    assert any("control token" in note for note in inputs.notes)
    with told() as sentences:
        prepare(words("a b"), "a strange b", players=["a", "b"])
    assert sentences == []


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ("{% for m in messages %}Q: {{ m.content }} again: {{ m.content }}{% endfor %}A:", "2 times"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{{ m.content }}{% endfor %}A:", "3 times"),
        ("{% for m in messages %}{{ m.content }} {{ m.content | upper }}{% endfor %}", "in other letters"),
        ("{% for m in messages %}{{ m.content | upper }} {{ m.content }}{% endfor %}", "changes|in other letters"),
        ("{% for m in messages %}{{ m.content }} ({{ m.content | length }}){% endfor %}", "a number"),
        ("{% for m in messages %}{{ m.content }} [{{ m.content[:3] }}]{% endfor %}", "a part"),
        ("{% for m in messages %}{{ m.content }} {{ m.content.split() | length }}{% endfor %}", "a number"),
        ("{% for m in messages %}{{ m.content }}{% if 'cat' in m.content %} meow{% endif %}{% endfor %}", "depends on"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "changes the user's text"),
        (
            "{% for m in messages %}{{ m.content }}{{ ['a', 'b', 'c', 'd'] | random }}{% endfor %}",
            "a different prompt each|1",
        ),
    ],
)
def test_what_else_depends_on_the_text_is_refused(chat, message):
    for text in ("red cat sat", "six666"):
        try:
            prepare(letters(chat), text, players="all-words", target=70)
        except ValueError as error:
            assert pytest.raises(ValueError, match=message) and any(m in str(error) for m in message.split("|"))
        else:
            # Only what draws lots may come out alike by chance, or a word that is not there.
            assert "random" in chat or ("cat" in chat and "cat" not in text)


@pytest.mark.parametrize("text", ["  a good movie\n", "x", "text", "A", "good good", "␟", "user"])
@pytest.mark.parametrize(
    "chat", [TURN, TURN.replace("m.content", "m.content | trim"), TURN.replace("m.content", "m['content']")]
)
def test_ordinary_templates_find_the_text(text, chat):
    inputs = prepare(letters(chat), text, players=[text.strip()], target=5)
    assert letters().decode(inputs.input_ids[slice(*inputs.spans[0])]) == text.strip()


def test_a_prompt_that_prints_the_time_is_found():
    tokenizer = letters("Now {{ strftime_now('%d %b %H:%M:%S.%f') }}\n" + TURN)
    inputs = prepare(tokenizer, "3 witty 14 movies", players=["3", "movies"], target=5)
    assert [tokenizer.decode(inputs.input_ids[slice(*span)]) for span in inputs.spans] == ["3", "movies"]


@pytest.mark.parametrize(
    "opens",
    [
        "<think>\n",
        "<thinking>",
        "[THINK]",
        "◁think▷",
        "<|START_THINKING|>",
        "<seed:think>",
        "<reasoning>\n",
        "<thought>",
    ],
)
def test_an_answer_inside_a_thought_is_told(opens):
    tokenizer = letters(TURN + opens)
    with pytest.warns(UserWarning, match=r"ends inside a thought"):
        inputs = prepare(tokenizer, "a witty movie", target="good", target_tokens=1)
    assert "enable_thinking" in inputs.notes[0]
    closes = opens.strip().replace("START", "END").replace("seed:", "/seed:")
    closes = closes if closes != opens.strip() else closes[0] + "/" + closes[1:]
    closes = closes.replace("/|", "|").replace("</seed", "</seed")
    with told() as sentences:
        prepare(tokenizer, "a witty movie", template=Template(answer_prefix=f"I see.{closes}\n"), target=5)
        prepare(tokenizer, "a witty movie")
        prepare(letters(TURN), "does <think> count", target=5)
    assert sentences == []
    with pytest.warns(UserWarning, match=r"ends inside a thought"):
        encode_answer(tokenizer, "a witty movie", "good")


def test_arguments_reach_the_chat_template():
    tokenizer = letters(THINKS)
    with told() as sentences:
        inputs = prepare(tokenizer, "a movie", template=Template(arguments={"enable_thinking": False}), target=5)
    assert sentences == [] and tokenizer.decode(inputs.input_ids).endswith("<think>\n\n</think>\n\n")
    dated = letters("{{ date_string }}\n" + TURN)
    inputs = prepare(dated, "a movie", template=Template(arguments={"date_string": "26 Jul 2024"}), target=5)
    assert dated.decode(inputs.input_ids).startswith("26 Jul 2024\n")
    with pytest.warns(UserWarning, match=r"does not use enable_thinking, so the prompt is the same"):
        prepare(letters(TURN), "a movie", template=Template(arguments={"enable_thinking": False}), target=5)
    with pytest.raises(ValueError, match=r"name tokenize, which interact sets itself"):
        Template(arguments={"tokenize": True})
    with pytest.raises(ValueError, match=r"must be a mapping of names"):
        Template(arguments=["enable_thinking"])


class Slow(PreTrainedTokenizer):
    vocab_size = 1

    def get_vocab(self):
        return {"a": 0}


def test_a_tokenizer_without_offsets_names_a_cure_of_today():
    with pytest.raises(ValueError, match=r"PreTrainedTokenizerFast.from_pretrained") as error:
        prepare(Slow(), "a good movie")
    assert "use_fast" not in str(error.value)


def test_several_chat_templates_are_named_and_chosen():
    tokenizer = letters({"tool_use": TURN, "rag": TURN.replace("user", "x")})
    with pytest.raises(ValueError, match=r"several chat templates, \['rag', 'tool_use'\].*Template\(chat='rag'\)"):
        prepare(tokenizer, "a witty movie")
    inputs = prepare(tokenizer, "a witty movie", template=Template(chat="tool_use"), target=5)
    assert tokenizer.decode(inputs.input_ids).startswith("<|im_start|>user")
    with pytest.raises(ValueError, match=r"chat='none'.*it has the templates \['rag', 'tool_use'\]"):
        prepare(tokenizer, "a witty movie", template=Template(chat="none"))
    with pytest.raises(ValueError, match=r"one template without a name"):
        prepare(letters(TURN), "a witty movie", template=Template(chat="rag"))
    assert prepare(letters({"default": TURN, "rag": "x"}), "a witty movie", target=5).input_ids[0] == 1


@pytest.mark.parametrize(
    "content", ["{{ 1 + m.content }}", "{{ m.content.nothing.more }}", "{{ raise_exception('No texts here') }}"]
)
def test_a_chat_template_that_fails_is_one_sentence(content):
    tokenizer = letters("{% for m in messages %}" + content + "{% endfor %}")
    with pytest.raises(ValueError, match=r"chat template cannot hold these messages.*use Template\(chat=False\)"):
        prepare(tokenizer, "a witty movie")


@pytest.mark.parametrize(
    "part",
    [
        "{{ part.text }}",
        "{% if part.type == 'text' %}{{ part['text'] | trim }}{% endif %}",
        "{% if part.type == 'image' %}<img>{% elif part.type == 'text' %}{{ part.text }}{% endif %}",
    ],
)
@pytest.mark.parametrize("guard", ["", "{% if m.content is string %}{{ raise_exception('parts') }}{% endif %}"])
def test_a_chat_template_that_wants_parts_gets_parts(part, guard):
    chat = (
        "{% for m in messages %}" + guard + "{% for part in m.content %}" + part + "{% endfor %}<|im_end|>{% endfor %}"
    )
    tokenizer = letters(chat)
    inputs = prepare(tokenizer, "a witty movie", players=["witty"], template=Template(system="Be brief."), target=5)
    assert tokenizer.decode(inputs.input_ids) == "Be brief.<|im_end|>a witty movie<|im_end|>"
    assert tokenizer.decode(inputs.input_ids[slice(*inputs.spans[0])]) == "witty"
