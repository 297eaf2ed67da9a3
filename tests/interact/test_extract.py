"""The main verb, end to end on tiny models."""

import numpy as np
import pytest

import interact
from interact_kernels import sparsify
from tests.interact.conftest import causal, classifier

TEXT = "a gorgeous, witty, seductive movie, not boring"


@pytest.mark.parametrize("masking", ["baseline", "attention", "text"])
def test_a_prompt_gives_certified_interactions(byte_level, masking):
    template = interact.Template(user="Review: {text}", answer_prefix="This review is")
    r = interact.extract(
        causal(), byte_level, TEXT, players=4, target="positive", template=template, masking=masking, progress=False
    )
    assert r.n == 4 and np.abs(r.predict() - r.values - r.noise).max() < 1e-4
    verdict = sparsify.verify(sparsify.and_or_split(r.values), r.values)
    assert r.primal == pytest.approx(float(verdict.primal)) and verdict.gap <= 1e-6
    known = r.provenance
    assert (
        known["masking"] == masking
        and known["target"]["text"] == " positive"
        and (known["noise"], known["kappa"]) == ("soft", 0.01)
    )
    assert known["baseline"] == ("unk" if masking == "baseline" else None) and known["versions"]["torch"]
    assert known["target"]["chosen"] == "label" and known["template"]["user"] == "Review: {text}"


def test_no_players_and_one_player(byte_level):
    none = interact.extract(causal(), byte_level, TEXT, players=[])
    assert none.n == 0 and none.top() == [] and "no interactions" in str(none)
    one = interact.extract(causal(), byte_level, TEXT, players=["movie"], kappa=0)
    assert one.top()[0].effect == pytest.approx(one.values[1] - one.values[0])


def test_the_prediction_is_explained_when_no_target_is_named(byte_level):
    r = interact.extract(causal(), byte_level, TEXT, players=2)
    assert r.provenance["target"]["chosen"] == "predicted" and len(r.provenance["target"]["ids"]) == 1


def test_a_classifiers_label_is_named(wordpiece):
    r = interact.extract(classifier(), wordpiece, TEXT, players=3, target="Positive")
    assert r.provenance["target"] == {"ids": [2], "text": "positive", "chosen": "label"}
    assert interact.extract(classifier(), wordpiece, TEXT, players=3, target=2).values[0] == r.values[0]
    with pytest.raises(ValueError, match="'great' names 0 labels of this classifier"):
        interact.extract(classifier(), wordpiece, TEXT, target="great")
    with pytest.raises(ValueError, match="label 7 does not exist"):
        interact.extract(classifier(), wordpiece, TEXT, target=7)


def test_bad_masking_is_said_before_any_work(byte_level):
    with pytest.raises(ValueError, match="masking='x' is not known"):
        interact.extract(causal(), byte_level, TEXT, masking="x")
