"""Words and sentences of every script: what is a player, what is whole, and where a sentence ends."""

import sys

import pytest

from interact import prepare
from interact.prompt import words as room
from interact.prompt.sentences import sentence_spans
from interact.prompt.words import word_spans

from .ground import found, letters, told


def cut(text, spans):
    return [text[low:high] for low, high in spans(text)]


UNSPACED = [
    "这部电影非常好看，演员表演出色，剧情紧凑。",
    "这部电影非常好看演员表演出色",
    "この映画はとても面白かった。",
    "ภาพยนตร์เรื่องนี้ดีมาก",
    "ຮູບເງົາເລື່ອງນີ້ດີຫຼາຍ",
    "ភាពយន្តនេះល្អណាស់",
    "ဒီရုပ်ရှင်ကောင်းတယ်",
    "我买了iPhone手机 and it is 好用",
]


@pytest.mark.parametrize("text", UNSPACED)
@pytest.mark.parametrize("unit", ["words", "all-words"])
def test_scripts_without_spaces_have_characters_and_a_note_where_there_is_no_dictionary(text, unit, monkeypatch):
    monkeypatch.setattr(room, "WordBreaker", None)
    with pytest.warns(
        UserWarning, match=r"single characters are the players; run `pip install \"interact-llm\[words\]\"`"
    ):
        inputs = prepare(letters(), text, players=unit, target=5)
    assert len(inputs.players) >= 6 and any("single characters" in note for note in inputs.notes)
    spans = [p.chars for p in inputs.players]
    assert all(text[a:b] == p.text for p, (a, b) in zip(inputs.players, spans, strict=True))


def test_a_dictionary_gives_whole_words(monkeypatch):
    pytest.importorskip("icu4py", reason="the extra words is not installed")
    assert cut("这部电影非常好看", word_spans) == ["这", "部", "电影", "非常", "好看"]
    assert cut("ภาพยนตร์เรื่องนี้ดีมาก", word_spans) == ["ภาพยนตร์", "เรื่อง", "นี้", "ดี", "มาก"]
    assert cut("我买了iPhone手机😍𠮷", word_spans)[-5:] == ["了", "iPhone", "手机", "😍", "𠮷"]
    assert cut("ភាពយន្តនេះ", word_spans) == ["ភាពយន្ត", "នេះ"]


def test_what_a_dictionary_cuts_covers_the_run(monkeypatch):
    class Pairs:
        def __init__(self, text, locale):
            self.text = text

        def __iter__(self):
            return iter([self.text[i : i + 2] for i in range(0, len(self.text), 2)])

    monkeypatch.setattr(room, "WordBreaker", Pairs)
    assert found("这部电影很好 good") == ["这部", "电影", "很好", "good"]
    assert found("3.5分iPhone手机") == ["3.5", "分", "iPhone", "手机"]


@pytest.mark.parametrize(
    "text",
    [
        "좋은 영화 였다",
        "хороший фильм",
        "a witty movie",
        "الفيلم جميل",
        "अच्छी फ़िल्म",
        "这部 电影 非常 好看",
        "หนัง เรื่องนี้ ดีมาก",
    ],
)
def test_texts_with_spaces_stay_as_they_are(text):
    with told() as sentences:
        assert found(text, "all-words") == text.split()
    assert sentences == []


@pytest.mark.parametrize(
    ("text", "players"),
    [
        ("movie 😍🔥 not good 👎🏽", ["movie", "😍", "🔥", "not", "good", "👎🏽"]),
        ("we are 👨‍👩‍👧 here", ["we", "are", "👨‍👩‍👧", "here"]),
        ("😍🔥👍", ["😍", "🔥", "👍"]),
        ("🇩🇪🇫🇷 1️⃣ ❤️ ❤ ★★", ["🇩🇪", "🇫🇷", "1️⃣", "❤️", "❤", "★", "★"]),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿 👩🏽‍🚀 won", ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👩🏽‍🚀", "won"]),
        ("rated 3.5 of 5 stars, not 1,000", ["rated", "3.5", "of", "5", "stars", "not", "1,000"]),
        ("GPT-3.5 costs 1.234,50 or ٣٫٥", ["GPT-3.5", "costs", "1.234,50", "or", "٣٫٥"]),
        ("C++ U.S. film", ["C++", "U.S.", "film"]),
        (
            "C# beats F# and A+ at 5 p.m. e.g. here",
            ["C#", "beats", "F#", "and", "A+", "at", "5", "p.m.", "e.g.", "here"],
        ),
        ("a+b=c", ["a", "b", "c"]),
        ("extra\u00adordinary movie", ["extra\u00adordinary", "movie"]),
        ("می‌خواهم این", ["می‌خواهم", "این"]),
        ("a \u200d b\u200b c\ufeff \u2060", ["a", "b", "c"]),
        ("e\u0301tude don’t well-known", ["e\u0301tude", "don’t", "well-known"]),
        ("т.е. США", ["т.е.", "США"]),
        ("so good.Bad", ["so", "good", "Bad"]),
    ],
)
def test_signs_that_carry_meaning_are_words_and_words_are_whole(text, players):
    assert cut(text, word_spans) == players
    assert found(text, "all-words") == players


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("这部电影好看。演员出色！剧情紧凑吗？", 3),
        ("彼は行った。とても良い！", 2),
        ("「良い。」と言った。次だ。", 2),
        ("他说“好！”就走了。再见。", 2),
        ("这是3.5分。很好", 2),
        ("यह अच्छा है। वह गया।", 2),
        ("यह अच्छा है।वह गया॥", 2),
        ("هل هذا جيد؟ نعم. شكرا", 3),
        ("یہ اچھا ہے۔ وہ گیا۔", 2),
        ("Բարեւ։ Լավ։", 2),
        ("ស្រុក។ល្អ។", 2),
        ("ကောင်း။ ဟုတ်။", 2),
        ("ሰላም። ጥሩ።", 2),
        ("Mt. Fuji is high. We left at 5 p.m. on Jan. 3rd.", 2),
        ("See e.g. Fig. 2 and vs. Table 3.", 1),
        ("1. First item\n2. Second item", 2),
        ("10. Zehnter Punkt. Mehr\n- b. Another", 3),
        ("Dr. Smith paid $3.50 to J. K. Rowling in the U.S. today. Good!", 2),
        ("I left the U.S. It was cold.", 2),
        ("Am 3. Oktober kam z.B. Herr Dr. Müller. Er ging.", 2),
        ("Der 2. Weltkrieg endete 1945. Dann kam Frieden.", 2),
        ("Il vit M. Dupont et Mme. Curie. Voilà.", 2),
        ("El Sr. García y la Dra. Ruiz. ¿Qué? ¡Bien!", 3),
        ("Он пришёл в 2020 г. и ушёл. Это т.е. хорошо.", 2),
        ("No. I don't. See No. 5.", 3),
        ("We gave it a 5. It was good. In 2020. Then it ended.", 4),
        ('He said "Stop!" and left. OK', 2),
        ("Acme Inc. and Co. fell, etc. and more. The end", 2),
        ("a good movie. it is fun . yes!", 3),
        ("Wait... what? Yes", 2),
        ("Good! Bad? So-so.", 3),
        ("One sentence without an end", 1),
    ],
)
def test_sentences_end_where_they_end(text, sentences):
    spans = sentence_spans(text)
    assert len(spans) == sentences, cut(text, sentence_spans)
    assert "".join("".join(cut(text, sentence_spans)).split()) == "".join(text.split())
    assert [p.chars for p in prepare(letters(), text, players="sentences", target=5).players] == spans


def test_the_dictionary_is_found_again_where_it_is_installed():
    assert (room.WordBreaker is None) == ("icu4py" not in sys.modules)
