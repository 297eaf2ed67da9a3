"""Data as people have them: read as they are meant, or refused with the row; never learned as something else."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interact.study.config import from_json

from .ground import chat, factory, pairs, talk, told, write

LINES = '{"instruction": "good", "output": "A"}\n{"instruction": "bad", "output": "B"}\n'
OPENAI = {
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}
TWO = [("good", "A"), ("bad", "B")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "text,response\na good, witty movie,positive\nbad,negative\n",
            r"Row 1 .*line 2.* has 3 cells.*header has 2",
        ),
        ("a.csv", "text,response\nfine,positive\n好看,真的,正面\n", r"Row 2 .*line 3"),
        ("a.csv", 'text,response\n"two\nlines",positive\ngood, bad,negative\n', r"Row 2 .*line 4"),
        ("a.tsv", "text\tresponse\ngood\tfilm\tpositive\n", "Row 1 .* has 3 cells.*holds the separator"),
        ("a.csv", "text,response\ngood,positive,\n", "Row 1"),
        ("b.csv", "text,text,response\ngood,other,positive\n", "two columns of the name 'text'"),
        ("b.tsv", "text\tresponse\tresponse\ngood\tx\ty\n", "two columns of the name 'response'"),
        ("b.jsonl", '{"text": "good", "text": "bad", "response": "x"}\n', "Line 1 of .* names 'text' twice"),
        (
            "b.json",
            '[{"text": "a", "response": "x"},\n {"text": "good", "response": "x", "response": "y"}]',
            "'response' twice",
        ),
    ],
)
def test_a_table_that_does_not_fit_its_header_is_refused(name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pairs(write(tmp_path, name, content))


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path):
    arrays = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["text", "text", "response"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"two columns of the name 'text'"):
        pairs(tmp_path / "a.parquet")


def test_quoted_commas_and_wide_tables_are_read(tmp_path):
    content = 'id,text,response\n1,"a good, witty movie",positive\n\n2,"say ""hi""",negative\n'
    assert pairs(write(tmp_path, "a.csv", "\ufeff" + content)) == [
        ("a good, witty movie", "positive"),
        ('say "hi"', "negative"),
    ]
    with pytest.raises(ValueError, match=r"Row 2 .* empty response"):
        pairs(write(tmp_path, "a.csv", "text,response\ngood,yes\nbad\n"))


def test_cells_that_are_no_text_become_what_they_mean(tmp_path):
    table = tmp_path / "b.parquet"
    pd.DataFrame({"text": ["good", "bad", "so so"], "response": [1, 0, None]}).to_parquet(table)
    assert pairs(table, skip_empty=True) == [("good", "1"), ("bad", "0")]
    with pytest.raises(ValueError, match=r"Row 3 .* empty response"):
        pairs(table)
    with pytest.raises(ValueError, match=r"Row 1 .* empty response"):
        pairs(
            write(
                tmp_path,
                "a.jsonl",
                '{"text": "good movie", "response": NaN}\n{"text": "bad", "response": "negative"}\n',
            )
        )
    rows = (
        '[{"text": 3.0, "response": true}, {"text": 2.5, "response": false}, {"text": NaN, "response": "x"}, '
        '{"text": 7, "response": -1.0}]'
    )
    assert pairs(write(tmp_path, "a.json", rows), skip_empty=True) == [("3", "true"), ("2.5", "false"), ("7", "-1")]
    pd.DataFrame({"text": [True, False], "response": [1.5, float("nan")]}).to_parquet(table)
    assert pairs(table, skip_empty=True) == [("true", "1.5")]
    alpaca = factory(
        tmp_path, '[{"instruction": "good", "input": NaN, "output": 1.0}, {"instruction": "bad", "output": true}]'
    )
    assert pairs(alpaca) == [("good", "1"), ("bad", "true")]


KTO = [{"instruction": "good", "output": "A", "label": False}, {"instruction": "good", "output": "B", "label": True}]
ASKED = {"prompt": "instruction", "query": "input", "response": "output"}


def test_answers_that_are_not_desired_are_left_out(tmp_path):
    with pytest.warns(UserWarning, match=r"1 rows of 'x' are answers that are not desired"):
        assert pairs(factory(tmp_path, KTO, columns={**ASKED, "kto_tag": "label"})) == [("good", "B")]
    talks = [{**talk(("human", "q"), ("gpt", a)), "tag": good} for a, good in (("A", True), ("B", False), ("C", None))]
    columns = {"messages": "conversations", "kto_tag": "tag"}
    with pytest.warns(UserWarning, match=r"2 rows of 'x'"):
        assert pairs(factory(tmp_path, talks, formatting="sharegpt", columns=columns)) == [("q", "A")]
    with pytest.raises(ValueError, match=r"No row of 'x' has true in its column 'label'"):
        pairs(factory(tmp_path, KTO[:1], columns={**ASKED, "kto_tag": "label"}))


@pytest.mark.parametrize("kind", ["images", "videos", "audios"])
def test_sets_with_media_are_refused(kind, tmp_path):
    rows = [
        {"instruction": "<image>what is this", "output": "a cat", kind: ["a.png"]},
        {"instruction": "a", "output": "b"},
    ]
    with pytest.raises(ValueError, match=rf"has {kind} .*text only"):
        pairs(factory(tmp_path, rows, columns={**ASKED, kind: kind}))
    with pytest.raises(ValueError, match=r"text only"):
        rows = [{**talk(("human", "<image>?"), ("gpt", "cat")), kind: ["a.png"]}]
        pairs(factory(tmp_path, rows, formatting="sharegpt", columns={"messages": "conversations", kind: kind}))
    assert pairs(
        factory(tmp_path, rows[1:] or [{"instruction": "a", "output": "b"}], columns={**ASKED, kind: kind})
    ) == [("a", "b")]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES.replace("\n", "\n\n"),
        json.dumps([json.loads(line) for line in LINES.splitlines()]),
        json.dumps([json.loads(line) for line in LINES.splitlines()], indent=1),
        "\n".join(json.dumps(json.loads(line), indent=2) for line in LINES.splitlines()),
        "\n\n  " + json.dumps([json.loads(line) for line in LINES.splitlines()], indent=4) + "\n\n",
    ],
)
def test_json_is_read_by_its_content(suffix, mark, content, tmp_path):
    assert pairs(factory(tmp_path, mark + content, "d" + suffix)) == TWO
    asked = {"text": "instruction", "response": "output"}
    assert pairs(write(tmp_path, "d" + suffix, mark + content), columns=asked) == TWO


def test_one_row_is_a_file_too(tmp_path):
    assert pairs(write(tmp_path, "a.jsonl", '\ufeff{"text": "good", "response": "A"}\n')) == [("good", "A")]
    assert pairs(write(tmp_path, "a.json", '{"text": "good", "response": "A"}')) == [("good", "A")]
    with pytest.raises(ValueError, match=r"Line 2 of .* is not JSON"):
        pairs(write(tmp_path, "a.json", '{"text": "good", "response": "A"}\n{"text": \n{"text": "x"}'))


def test_the_mark_of_a_text_file_is_never_part_of_a_text(tmp_path):
    folder = factory(tmp_path, LINES)
    info = folder / "dataset_info.json"
    info.write_text("\ufeff" + info.read_text())
    assert pairs(folder) == TWO
    go = tmp_path / "go"
    go.mkdir()
    (go / "labels.txt").write_text("\ufeffjoy\nanger\n")
    (go / "train.tsv").write_text("\ufeffhow nice\t0\tid1\nhow bad\t1\tid2\n")
    assert pairs(go) == [("how nice", "joy"), ("how bad", "anger")]
    (tmp_path / "study.json").write_text("\ufeff{}")
    from interact.formats.files import read_json

    assert from_json({"models": ["smollm2"]}) and read_json(tmp_path / "study.json", "study") == {}


@pytest.mark.parametrize(
    "odd",
    [
        talk(("human", "price?"), ("function_call", "{}"), ("observation", "5"), ("gpt", "five")),
        talk(("gpt", "hello"), ("human", "hi"), ("gpt", "A")),
        talk(("human", "alone")),
        talk(("system", "s")),
        talk(),
        talk(("human", "q"), ("gpt", "")),
    ],
)
def test_rows_without_a_first_exchange_are_left_out_and_counted(odd, tmp_path):
    good = talk(("human", "good"), ("gpt", "A"))
    with pytest.warns(UserWarning, match=r"1 conversations of 'x' do not begin with a question and an answer"):
        assert pairs(factory(tmp_path, [good, odd], formatting="sharegpt")) == [("good", "A")]
    with pytest.raises(ValueError, match=r"must start with 'human' and 'gpt', but its roles are"):
        pairs(factory(tmp_path, [odd], formatting="sharegpt"))
    numbers = talk(("human", 1), ("gpt", 0))
    with told() as sentences:
        assert pairs(factory(tmp_path, [numbers], formatting="sharegpt")) == [("1", "0")]
        assert pairs(factory(tmp_path, [good, good], formatting="sharegpt")) == [("good", "A")] * 2
    assert sentences == []


def test_messages_in_openais_style_are_read(tmp_path):
    parts = [{"type": "text", "text": "go"}, {"type": "text", "text": "od"}]
    for formatting in ("openai", "sharegpt"):
        assert pairs(factory(tmp_path, [chat("good", "A")], formatting=formatting, **OPENAI)) == [("good", "A")]
        assert pairs(
            factory(tmp_path, [chat(parts, [{"type": "text", "text": "A"}])], formatting=formatting, **OPENAI)
        ) == [("good", "A")]
        calls = chat("price?", None, tool_calls=[{}])
        with pytest.warns(UserWarning, match=r"1 conversations"):
            assert pairs(factory(tmp_path, [chat("bad", "B"), calls], formatting=formatting, **OPENAI)) == [
                ("bad", "B")
            ]
    assert pairs(factory(tmp_path, [chat("good", "A")], formatting="openai")) == [("good", "A")]
    picture = chat([{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "what?"}], "a cat")
    with pytest.raises(ValueError, match=r"a part of the kind 'image_url'"):
        pairs(factory(tmp_path, [picture], formatting="openai"))


@pytest.mark.parametrize(
    ("rows", "entry", "message"),
    [
        ([talk(("human", "good"), ("gpt", "A"))], {"format": "sharegpt"}, "has the key 'format'.*write 'formatting'"),
        ([talk(("human", "good"), ("gpt", "A"))], {"formating": "sharegpt"}, "write 'formatting'"),
        ([talk(("human", "good"), ("gpt", "A"))], {}, 'column \'conversations\'.*add "formatting": "sharegpt"'),
        ([chat("good", "A")], {}, '"formatting": "openai"'),
        (
            [chat("good", "A")],
            {"formatting": "openai", "columns": {"message": "messages"}},
            "columns .* write 'messages'",
        ),
        ([chat("good", "A")], {"formatting": "openai", "tags": {"role": "role"}}, "tags .* write 'role_tag'"),
        ([{"q": "a", "a": "b"}], {"columns": {"instruction": "q"}}, "columns .* names 'instruction'"),
        ([{"q": "a", "a": "b"}], {"column": {"prompt": "q", "response": "a"}}, "write 'columns'"),
        ([{"q": "a", "a": "b"}], {"formatting": "chatml"}, "choose alpaca, sharegpt or openai"),
    ],
)
def test_near_misses_of_dataset_info_are_named(rows, entry, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        pairs(factory(tmp_path, rows, **entry))


def test_remarks_and_known_keys_are_no_misses(tmp_path):
    with told() as sentences:
        assert pairs(factory(tmp_path, LINES, description="ours", num_samples=10, license="MIT", file_sha1="x")) == TWO
    assert sentences == []
