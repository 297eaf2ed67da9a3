"""From a text to players: choosing characters, mapping them to tokens, bad input."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interact.prompt.inputs import prepare
from interact.prompt.players import PlayerChoice, choose_spans

TEXT = "A gorgeous, witty, seductive movie, and not a boring one."


def words(text, players):
    plain, spans = choose_spans(text, players)
    return [plain[a:b] for a, b in spans]


def test_content_words_keep_negation_and_drop_stop_words_and_punctuation():
    assert words(TEXT, None) == ["gorgeous", "witty", "seductive", "movie", "not", "boring", "one"]


def test_a_draw_is_seeded_and_in_text_order():
    text = " ".join(f"word{i}" for i in range(30))
    drawn = words(text, PlayerChoice(limit=8, seed=3))
    assert drawn == words(text, PlayerChoice(limit=8, seed=3)) == sorted(drawn, key=lambda w: int(w[4:]))
    assert drawn != words(text, PlayerChoice(limit=8, seed=4))
    assert len(words(text, None)) == 10 and len(words(text, 7)) == 7


def test_sentences_paragraphs_marks_and_phrases():
    text = "One here. Two there!\n\nThree; still three?  Four"
    assert words(text, "sentences") == ["One here.", "Two there!", "Three; still three?", "Four"]
    assert words(text, "paragraphs") == ["One here. Two there!", "Three; still three?  Four"]
    plain, spans = choose_spans("so [[very good]] and [[ bad ]]", "marked")
    assert plain == "so very good and  bad " and [plain[a:b] for a, b in spans] == ["very good", "bad"]
    assert words("bad, not bad at all", ["not bad", "bad"]) == ["bad", "not bad"]
    assert words("bad bad bad", ["bad", "bad"]) == ["bad", "bad"]
    assert words("category cat", ["cat"]) == ["cat"] and choose_spans("category cat", ["cat"])[1] == [(9, 12)]
    assert words(TEXT, [(2, 10), (30, 35)]) == ["gorgeous", "ovie,"]
    assert words(TEXT, []) == []


def test_words_do_not_end_at_combining_marks():
    assert words("यह फिल्म अच्छी", "all-words") == ["यह", "फिल्म", "अच्छी"]
    assert words("l'e\u0301te\u0301 beau", "all-words") == ["l'e\u0301te\u0301", "beau"]


def test_every_number_of_players_up_to_twenty():
    text = " ".join(f"w{i}" for i in range(25))
    for n in range(21):
        assert len(words(text, n)) == n


@pytest.mark.parametrize(
    ("text", "players", "message"),
    [
        ("", None, "The text is empty"),
        ("  \n", None, "The text is empty"),
        ("it is what it was", None, "No players \\(words\\) were found"),
        ("no marks", "marked", "No players \\(marked\\)"),
        ("a b c", "letters", "not a unit"),
        (5, None, "must be one string, but is a int"),
        ("bad \ud800", None, "broken character at 4"),
        ("film", 2.5, "players=2.5 is not known"),
        ("film", True, "players=True is not known"),
        ("film", [(0, 1, 2)], "is not a phrase or a"),
        ("film", [(0.5, 2)], "is not a phrase or a"),
        ("film", [None], "is not a phrase or a"),
        ("film", 21, "choose from 1 to 20"),
        (". ".join("abcdefghijklmnopqrstuvwxyz") + ".", "sentences", "26 players were found"),
        ("good film", ["great"], "'great' \\(mention 1\\) does not occur"),
        ("good film", ["good", "good"], "mention 2"),
        ("good film", [""], "does not occur"),
        ("good film", ["good film", "film"], "overlap"),
        ("good film", [(0, 5), (4, 9)], "overlap"),
        ("good film", [(5, 10)], "lies outside the text of 9 characters"),
        ("good film", [(3, 3)], "is empty"),
        ("good film", [(-1, 3)], "lies outside"),
    ],
)
def test_bad_input_is_a_sentence(text, players, message):
    with pytest.raises(ValueError, match=message):
        choose_spans(text, players)


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece_like", "wordpiece"])
def test_players_take_all_their_sub_tokens_and_nothing_else(kind, request):
    tokenizer = request.getfixturevalue(kind)
    inputs = prepare(tokenizer, TEXT, players="all-words", template="Review: {text} Good?")
    for player, (low, high) in zip(inputs.players, inputs.spans, strict=True):
        pieces = tokenizer.decode(list(inputs.input_ids[low:high])).replace("##", "").replace(" ", "")
        assert pieces.lower() == player.text.lower() or tokenizer.unk_token in pieces
    assert not inputs.notes


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_text_gives_disjoint_spans_or_a_sentence(byte_level, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            inputs = prepare(byte_level, text, players="all-words", template="Q: {text} A:")
        except ValueError as error:
            assert str(error).endswith(".")
            return
    flat = [edge for span in inputs.spans for edge in span]
    assert flat == sorted(flat) and inputs.n >= 1
    for player in inputs.players:
        assert inputs.text[player.chars[0] : player.chars[1]] == player.text


def test_emoji_and_accents_stay_whole(byte_level):
    inputs = prepare(byte_level, "très 🎬 bon", players=["très", "🎬"], template="{text} !")
    for player, (low, high) in zip(inputs.players, inputs.spans, strict=True):
        assert byte_level.decode(list(inputs.input_ids[low:high])).strip() == player.text


def test_a_shared_token_is_reported_and_merged(byte_level):
    with pytest.warns(UserWarning, match=r"'movie' became one player, because the tokenizer puts parts"):
        inputs = prepare(byte_level, "witty movie", players=[(6, 8), (8, 11)], template="{text}.")
    assert inputs.n == 1 and inputs.players[0].text == "movie" and len(inputs.notes) == 1
    with pytest.warns(UserWarning, match="includes 'vie'"):
        prepare(byte_level, "witty movie", players=[(6, 8)], template="{text}.")
