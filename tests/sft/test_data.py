"""Data sets of every format, their splits, and what is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interact.models import embedded
from interact.prompt.inputs import Template
from interact.sft.data import EMOTION, REVIEW, Columns, Example, read_examples, split_examples

ROWS = [{"question": f"q {i}", "answer": f"a {i}", "hint": f"h {i}"} for i in range(3)]
MAPPING = {"text": "question", "response": "answer"}


def write(folder, suffix):
    import pandas as pd

    path = folder / f"data{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(r) for r in ROWS) + "\n\n")
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif suffix == ".parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    else:
        pd.DataFrame(ROWS).to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_file_format_gives_the_same_examples(tmp_path, suffix):
    path = write(tmp_path, suffix)
    found = read_examples(path, columns=MAPPING)
    assert found == [Example(f"data-{i + 1}", f"q {i}", f"a {i}") for i in range(3)]
    wide = read_examples(path, columns=Columns("question", "answer", instruction="hint"), template=REVIEW)
    assert wide[1].template.user.endswith("\n\nh 1\n{text}") and wide[1].template.answer_prefix == "This review is"


def test_context_stands_behind_and_an_empty_text_gives_way_to_its_instruction(tmp_path):
    path = tmp_path / "dolly.jsonl"
    rows = [{"instruction": "Who?", "context": "It was {me}.", "response": "me"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    (one,) = read_examples(path, columns=Columns("instruction", "response", context="context"))
    assert (one.text, one.template.user) == ("Who?", "{text}\nIt was {me}.")
    path.write_text(json.dumps({"instruction": "Who?", "input": "", "output": "me"}))
    (one,) = read_examples(path, columns=Columns("input", "output", instruction="instruction"))
    assert (one.text, one.template) == ("Who?", Template())


def test_goemotions_keeps_rows_of_one_label(tmp_path):
    (tmp_path / "labels.txt").write_text("joy\nanger\nneutral")
    (tmp_path / "train.tsv").write_text(
        'so "happy\t0\tid1\nboth\t0,1\tid2\n\tno\u2028t\t2\tid3\n'.replace("\tno", "no")
    )
    found = read_examples(tmp_path)
    assert [(e.id, e.text, e.response) for e in found] == [
        ("goemotions-id1", 'so "happy', "joy"),
        ("goemotions-id3", "no\u2028t", "neutral"),
    ]
    assert found[0].template == EMOTION
    with pytest.raises(ValueError, match=r"has no dev.tsv; it has \['train'\]"):
        read_examples(tmp_path, part="dev")
    (tmp_path / "dev.tsv").write_text("text\t9\tid\n")
    with pytest.raises(ValueError, match=r"Line 1 of .*dev.tsv must be text, label numbers, id"):
        read_examples(tmp_path, part="dev")


def test_llama_factory_describes_alpaca_and_sharegpt(tmp_path):
    info = {
        "a": {"file_name": "a.json", "columns": {"system": "sys", "history": "history"}},
        "s": {
            "file_name": "s.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        },
        "odd": {"file_name": "a.json", "formatting": "csv"},
        "pairs": {"file_name": "a.json", "ranking": True},
        "none": {},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    alpaca = [
        {"instruction": "Translate.", "input": "ja", "output": "yes", "sys": "Be brief."},
        {"instruction": "Hello?", "input": "", "output": "hi"},
        {"instruction": "Again?", "output": "no", "history": [["q", "a"]]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(alpaca))
    with pytest.warns(UserWarning, match="1 rows of 'a' have a history"):
        first, second = read_examples(tmp_path, part="a")
    assert (first.text, first.response) == ("ja", "yes")
    assert first.template == Template(user="Translate.\n{text}", system="Be brief.")
    assert (second.text, second.template) == ("Hello?", Template())
    turns = [("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V")]
    row = {"messages": [{"role": r, "content": c} for r, c in turns]}
    (tmp_path / "s.jsonl").write_text(json.dumps(row))
    with pytest.warns(UserWarning, match="1 conversations of 's' have more turns"):
        (one,) = read_examples(tmp_path / "dataset_info.json", part="s")
    assert (one.text, one.response, one.template.system) == ("U", "A", "S")
    row["messages"].pop(1)
    (tmp_path / "s.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=r"must start with 'user' and 'assistant', but its roles are \['assistant'"):
        read_examples(tmp_path, part="s")
    for part, message in [
        (None, r"but no data set was named; name one \(part="),
        ("x", "but 'x' is not in it"),
        ("odd", "has the format 'csv'; choose alpaca, sharegpt or openai"),
        ("pairs", "preference training"),
        ("none", "names neither file_name nor hf_hub_url"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_examples(tmp_path, part=part)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ('{"text": "a", "response": "b"}\n{"text": "a", "response": " "}', {}, "Row 2 .* has an empty response"),
        ('{"text": " ", "response": "b"}', {}, "Row 1 .* has an empty text"),
        ('{"q": "a", "a": "b"}', {}, r"no column 'text' \(text\), 'response' \(response\); it has 'q', 'a'"),
        (
            '{"text": "a", "response": "b"}',
            {"columns": {"text": "text", "answer": "b"}},
            r"names \['answer'\], but only",
        ),
        ('{"text": ["a"], "response": "b"}', {}, "has a list in column 'text'"),
        ('{"text": "a"', {}, "Line 1 of .* is not JSON"),
        ("[1]", {}, "Line 1 of .* is a JSON list, not an object"),
        ("", {}, "has no rows with a text and a response"),
        (
            '{"text": "a", "response": "b", "i": "{text}"}',
            {"columns": Columns(instruction="i")},
            "holds {text} in its instruction or context",
        ),
    ],
)
def test_bad_rows_are_sentences(tmp_path, content, options, message):
    path = tmp_path / "data.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_examples(path, **options)


def test_bad_sources_are_sentences(tmp_path):
    with pytest.raises(ValueError, match=r"The data file .*missing.csv does not exist"):
        read_examples(tmp_path / "missing.csv")
    (tmp_path / "data.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"has an unknown format \(.xlsx\); pass one of"):
        read_examples(tmp_path / "data.xlsx")
    (tmp_path / "data.parquet").write_text("x")
    with pytest.raises(ValueError, match="is not a Parquet file, or it was cut short"):
        read_examples(tmp_path / "data.parquet")
    (tmp_path / "data.csv").write_bytes(b"text,response\n\xff,b\n")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_examples(tmp_path / "data.csv")
    with pytest.raises(ValueError, match="'reviewz' is not known"):
        read_examples("reviewz")
    with pytest.raises(ValueError, match="neither a data file"):
        read_examples(tmp_path)


def test_empty_rows_are_left_out_on_request(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a", "response": "b"}\n{"text": "c", "response": null}\n')
    assert [e.text for e in read_examples(path, skip_empty=True)] == ["a"]


def test_hub_sets_are_read_with_their_known_columns(monkeypatch):
    datasets = pytest.importorskip("datasets")
    sets = {
        "databricks/databricks-dolly-15k": [{"instruction": "Who?", "context": "C", "response": "me", "category": "x"}],
        "google-research-datasets/go_emotions": [
            {"text": "so happy", "labels": [17], "id": "i"},
            {"text": "both", "labels": [1, 2], "id": "j"},
        ],
    }
    asked = []

    def load(name, subset, *, split):
        asked.append((name, subset, split))
        if name not in sets:
            raise ConnectionError("no route\nto host")
        return sets[name]

    monkeypatch.setattr(datasets, "load_dataset", load)
    (dolly,) = read_examples("dolly")
    assert (dolly.text, dolly.response, dolly.template.user) == ("Who?", "me", "{text}\nC")
    (emotion,) = read_examples("goemotions", part="test")
    assert (emotion.text, emotion.response) == ("so happy", "joy")
    assert asked == [
        ("databricks/databricks-dolly-15k", None, "train"),
        ("google-research-datasets/go_emotions", "simplified", "test"),
    ]
    with pytest.raises(RuntimeError, match=r"'owner/none' \(split 'train'\) could not be loaded: no route. Check"):
        read_examples("owner/none")


def test_embedded_reviews_answer_with_a_word(tmp_path, monkeypatch):
    reviews = [embedded.Review("witty", 1), embedded.Review("dull", 0)]
    monkeypatch.setattr(embedded, "reviews", lambda source: reviews)
    assert [e.response for e in read_examples("reviews")] == ["positive", "negative"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=3).filter(str.strip), min_size=4, max_size=30, unique_by=str.strip),
    st.integers(0, 3),
)
def test_a_split_shares_no_text_and_stays_when_others_come(texts, seed):
    examples = [Example(str(i), text, "r") for i, text in enumerate(texts)]
    doubled = [*examples, *(Example(f"again {e.id}", e.text, "s") for e in examples)]
    split = split_examples(doubled, heldout=2, follow=1, seed=seed)
    sides = [{e.text.strip() for e in side} for side in (split.train, split.heldout, split.follow)]
    assert [len(split.heldout), len(split.follow)] == [2, 1] and sum(map(len, sides)) == len(texts)
    assert len(set.union(*sides)) == len(texts)
    assert len(split.train) == 2 * (len(texts) - 3)
    fewer = [e for e in doubled if e.text.strip() not in sides[0]] + [split.train[0]]
    again = split_examples(reversed(fewer), heldout=2, follow=1, seed=seed)
    assert [e.text.strip() for e in again.follow] == [e.text.strip() for e in split.follow]


def test_a_split_that_leaves_nothing_is_refused():
    examples = [Example("1", "a", "r"), Example("2", "b", "r")]
    with pytest.raises(ValueError, match="2 different texts cannot give 1 held out, 1 followed"):
        split_examples(examples, heldout=1, follow=1)
    with pytest.raises(ValueError, match="must not be negative"):
        split_examples(examples, heldout=-1, follow=1)
