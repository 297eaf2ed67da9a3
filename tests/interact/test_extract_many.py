"""Many texts: the same results as one at a time, kept as they come, and gone on with."""

import copy

import numpy as np
import pytest
from tokenizers import normalizers

import interact
from interact.games import extract_many as room
from tests.interact.conftest import causal

TEXTS = ["a gorgeous, witty movie", "the plot is thin", "not a boring film", "old jokes", "a quiet, moving film"]


def test_many_texts_give_what_each_gives_alone(byte_level, monkeypatch):
    monkeypatch.setattr(room, "_TOGETHER", 2)
    model = causal()
    many = interact.extract_many(model, byte_level, TEXTS, target=7, template="{text} is", progress=False)
    assert [result.text for result in many] == TEXTS
    for text, result in zip(TEXTS, many, strict=True):
        alone = interact.extract(model, byte_level, text, target=7, template="{text} is")
        assert np.array_equal(alone.values, result.values)
        assert np.allclose(alone.i_and, result.i_and) and np.allclose(alone.i_or, result.i_or)
        assert result.gap <= 1e-3 and result.provenance["model"] == alone.provenance["model"]


def test_an_interrupt_keeps_what_was_scored_and_the_same_call_goes_on(byte_level, tmp_path, monkeypatch):
    model, scored = causal(), []
    plain = room.PromptGame.all_scores

    def counted(self, **options):
        if len(scored) == 3:
            scored.append("interrupt")
            raise KeyboardInterrupt
        scored.append(self.text)
        return plain(self, **options)

    monkeypatch.setattr(room.PromptGame, "all_scores", counted)
    with pytest.raises(KeyboardInterrupt):
        interact.extract_many(model, byte_level, TEXTS, target=7, folder=tmp_path, progress=False)
    assert len(list(tmp_path.glob("*.interactions"))) == 3
    results = interact.extract_many(model, byte_level, TEXTS, target=7, folder=tmp_path, progress=False)
    assert scored == [*TEXTS[:3], "interrupt", *TEXTS[3:]] and [r.text for r in results] == TEXTS


def test_other_weights_and_other_options_are_computed_anew(byte_level, tmp_path):
    model = causal()
    call = {"target": 7, "folder": tmp_path, "progress": False}
    first = interact.extract_many(model, byte_level, TEXTS[:1], **call)[0]
    model.lm_head.weight.data[:64] += 0.5
    second = interact.extract_many(model, byte_level, TEXTS[:1], **call)[0]
    third = interact.extract_many(model, byte_level, TEXTS[:1], kappa=0.1, **call)[0]
    assert not np.array_equal(first.values, second.values) and np.array_equal(second.values, third.values)
    assert len(list(tmp_path.glob("*.interactions"))) == 3


def test_a_text_of_the_same_tokens_is_not_taken_for_another(byte_level, tmp_path):
    lower = copy.deepcopy(byte_level)
    lower.backend_tokenizer.normalizer = normalizers.Lowercase()
    for text in ("Gorgeous WITTY film", "gorgeous witty film"):
        result = interact.extract_many(causal(), lower, [text], target=7, folder=tmp_path, progress=False)[0]
        assert result.text == text and [player.text for player in result.players] == text.split()


def test_what_is_wrong_with_a_text_names_it(byte_level, tmp_path):
    with pytest.raises(ValueError, match=r"Text 1 \(counted from 0\): "):
        interact.extract_many(causal(), byte_level, [TEXTS[0], ""], target=7, players=["gorgeous"], folder=tmp_path)
    assert len(list(tmp_path.glob("*.interactions"))) == 1
    with pytest.raises(ValueError, match="texts is one text; pass a list"):
        interact.extract_many(causal(), byte_level, "a film", target=7)
    assert interact.extract_many(causal(), byte_level, [], target=7) == []


def test_a_file_of_scores_is_not_gone_on_with_by_other_weights(byte_level, tmp_path):
    model, call = causal(), {"target": 7, "method": "sparse", "budget": 8, "cache": tmp_path / "kept.scores"}
    first = interact.extract(model, byte_level, TEXTS[0], **call)
    again = interact.extract(model, byte_level, TEXTS[0], **call)
    assert first.total == again.total
    model.lm_head.weight.data[:64] += 0.5
    with pytest.raises(ValueError, match=r"kept\.scores"):
        interact.extract(model, byte_level, TEXTS[0], **call)
