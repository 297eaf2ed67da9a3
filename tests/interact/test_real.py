"""Real SmolLM2-135M-Instruct scores: exact matching under both maskings, and that they mean something."""

import numpy as np
import pytest

import interact
from interact.models import embedded
from interact.models.load import load_model
from interact.sft.data import REVIEW

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def smollm2():
    folder = embedded.find("smollm2")
    if folder is None:
        pytest.skip("SmolLM2 is not in the cache; run `interact fetch smollm2`")
    return load_model(str(folder))


@pytest.mark.parametrize("masking", ["baseline", "attention"])
def test_exact_matching_on_real_scores(smollm2, masking):
    text = "a gorgeous, witty, seductive movie"
    r = interact.extract(*smollm2, text, target="positive", template=REVIEW, masking=masking)
    assert [p.text for p in r.players] == ["gorgeous", "witty", "seductive", "movie"]
    assert np.abs(r.predict() - (r.values + r.noise)).max() < 1e-4
    assert np.abs(r.noise).max() <= 0.04 * abs(r.values[-1] - r.values[0]) + 1e-9
    assert r.gap <= 1e-3 and r.values.std() > 1e-3


def test_praise_raises_and_blame_lowers_the_score_of_positive(smollm2):
    def score(text: str) -> float:
        return float(interact.extract(*smollm2, text, players=1, target="positive", template=REVIEW).values[-1])

    assert score("a gorgeous, witty, seductive movie") > score("a dull, stupid, boring movie")
