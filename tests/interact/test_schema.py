"""One JSON of a result: both kinds, from both doors, by the schema; and what stands in docs/formats.md."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from safetensors import safe_open

import interact
from interact import indices
from interact.command.main import main
from interact.results import SCHEMA, read_json
from tests.interact.test_interactions import result
from tests.interact.test_sampled import sparse

FORMATS = Path(__file__).parent.parent.parent / "docs" / "formats.md"
BOTH = pytest.mark.parametrize("make", [result, lambda: sparse(90), lambda: sparse(3, terms=0), lambda: result(0)])


def valid(text: str) -> dict:
    told = json.loads(text)
    Draft202012Validator(SCHEMA).validate(told)
    return told


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)
    inner = SCHEMA["properties"]["interactions"]["items"]
    rows = {**SCHEMA["properties"], **inner["properties"]}
    # The page names every property, and no other.
    page = FORMATS.read_text("utf-8").split("# The JSON of a result")[1].split("\n# ")[0]
    assert set(re.findall(r"^\| `(?:interactions\[\]\.)?(\w+)`", page, re.MULTILINE)) == set(rows)


@BOTH
def test_both_doors_write_what_the_schema_says(make, capsys, tmp_path):
    r = make()
    told = valid(r.to_json())
    file = r.save(tmp_path / "x.interactions")
    with pytest.raises(SystemExit) as ended:
        main(["show", str(file), "--json", "--top", "1000"])
    shown = valid(capsys.readouterr().out)
    assert ended.value.code == 0 and shown == {**told, "file": str(file)}
    assert told["method"] == r.method and told["total"] == r.total and told["r2"] == r.fidelity(0.0).r2
    assert told["scored"] == len(r.values) and told["held_out"] == (r.held_out.sum() if r.method == "sparse" else 0)
    assert [(i["words"], i["effect"], i["error"]) for i in told["interactions"]] == [
        (list(i.words), i.effect, i.error) for i in r.top(1000)
    ]


def test_each_salient_interaction_has_its_status():
    game = interact.game_from(lambda present: 2.0 * present.all(1) - 1.0 * present[:, 0] + 1e-3 * present[:, 1], 3)
    r = game.interactions()
    rows = {(row["kind"], tuple(row["players"])): row["status"] for row in valid(r.to_json())["interactions"]}
    assert rows["and", (0, 1, 2)] == "certain" and None in rows.values()
    assert {place for place, status in rows.items() if status} == {
        (i.kind, tuple(sorted(i.members))) for i in r.salient()
    }
    assert {row["status"] for row in valid(sparse(90).to_json())["interactions"]} == {None}


@pytest.mark.parametrize("make", [result, lambda: sparse(90)])
def test_what_is_written_is_read_back(make):
    r = make()
    back = read_json(r.to_json())
    assert (back.and_terms, back.or_terms, back.bias, back.n) == (r.and_terms, r.or_terms, r.bias, r.n)
    assert list(back.interactions) == r.top(1000) and back.provenance == r.provenance and back.text == r.text
    np.testing.assert_allclose(indices.shapley(back), indices.shapley(r), atol=0.5 * np.abs(r.noise).max() + 1e-9)
    first = {**json.loads(r.to_json()), "version": 1}
    del first["noise"], first["strength"]
    for row in first["interactions"]:
        del row["status"]
    assert read_json(json.dumps(first)) == back
    short = read_json(r.to_json(k=2))
    assert len(short.interactions) == 2 and short.left_out == len(back.interactions) - 2
    with pytest.raises(ValueError, match="lists 2 interactions and leaves out"):
        indices.shapley(short)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "x"}, "has no format 'interact.interactions'"),
        ({"version": 4}, "version 4, but this program reads up to version 3"),
        ({"bias": None}, "is damaged"),
        ({"interactions": [{"kind": "and", "players": [9], "effect": 1, "error": None, "stability": None}]}, "damaged"),
        ({"interactions": [{"kind": "xor", "players": [1], "effect": 1, "error": None, "stability": None}]}, "'xor'"),
        ({"interactions": 5}, "is damaged"),
    ],
)
def test_another_json_is_a_sentence(change, sentence):
    told = {**json.loads(result().to_json()), **change}
    assert not Draft202012Validator(SCHEMA).is_valid(told) or "players" in str(change)
    with pytest.raises(ValueError, match=sentence):
        read_json(json.dumps(told))
    for text in ("", "[1]", "[" * 200_000):
        with pytest.raises(ValueError, match="not the JSON of interactions"):
            read_json(text)


def test_an_exact_result_has_its_bound_and_a_sparse_one_has_none():
    exact, sampled = json.loads(result().to_json()), json.loads(sparse().to_json())
    assert sampled["dual"] is sampled["gap"] is None
    assert not Draft202012Validator(SCHEMA).is_valid({**exact, "dual": None})
    assert not Draft202012Validator(SCHEMA).is_valid({**sampled, "gap": 0.0})
    assert not Draft202012Validator(SCHEMA).is_valid({**exact, "more": 1})


def test_two_forms_are_interactions_and_the_common_name_makes_either():
    for r in (result(), sparse()):
        assert isinstance(r, interact.Interactions)
        fields = {name: value for name, value in vars(r).items() if name not in ("dual", "gap") or r.method == "exact"}
        again = interact.Interactions(**fields)
        assert type(again) is type(r) and again.to_json() == r.to_json()
    with pytest.raises(
        TypeError, match=r"takes the fields of one of its forms by name: ExactInteractions\(certificate,"
    ):
        interact.Interactions(text="a")


@pytest.mark.parametrize(("name", "make"), [("exact", lambda: result(3)), ("sampled", lambda: sparse(9, 6, rows=8))])
def test_files_of_the_last_release_are_read_and_written_alike(name, make, tmp_path):
    file = Path(__file__).parent / "files" / f"{name}.interactions"
    old = interact.load(file)
    found = []
    for path in (file, old.save(tmp_path / "x")):
        with safe_open(path, "numpy") as opened:
            # The library writes the metadata in any order; their sum is of every array's bytes.
            found.append({**opened.metadata(), "arrays": sorted(opened.keys())})
    assert found[0] == found[1] and len(found[0]["sha256"]) == 64
    assert (old.players, old.text, old.method) == (make().players, make().text, make().method)
    np.testing.assert_allclose(old.values, make().values, atol=1e-12)


def test_the_page_of_a_sampled_result_shows_the_score_of_all_players():
    from interact.study.report.payload import result_payload

    r = sparse(9)
    r.coalitions[3] = True
    assert result_payload(r)["total"] == pytest.approx(r.values[3], rel=1e-4)
