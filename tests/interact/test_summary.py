"""What matters over many texts, on games whose effects are known."""

import numpy as np
import pytest

import interact

TEXTS = [["not", "good"], ["Not", "good", "film"], ["good", "film"], ["not", "bad", "good"], ["film", "plot"]]


def results(noise=0.0):
    rng = np.random.default_rng(0)
    found = []
    for words in TEXTS:
        lower, moved = [word.lower() for word in words], noise * rng.normal()

        def score(masks, lower=lower, moved=moved):
            there = {word: masks[:, i] for i, word in enumerate(lower)}
            none = np.zeros(len(masks), dtype=bool)
            good, no = there.get("good", none), there.get("not", none)
            return (2.0 + moved) * good - 3.0 * (good & no)

        found.append(interact.game_from(score, words).interactions(noise="exact"))
    return found


def test_words_and_pairs_have_their_effects():
    table = interact.summary(results(), least=2).set_index(["kind", "words"])
    assert table.loc[("and", "good"), ["texts", "mean", "low", "high", "positive"]].tolist() == [4, 2, 2, 2, 1]
    # Whoever has no interaction of these words counts with 0, and a text without the words does not count.
    assert table.loc[("and", "good & not"), "mean"] == pytest.approx(-3)
    assert table.loc[("and", "good & not"), "texts"] == 3 and table.loc[("and", "film"), "mean"] == 0
    assert ("and", "plot") not in table.index and ("or", "good") not in table.index
    assert table["strength"].is_monotonic_decreasing


def test_intervals_are_students_over_texts():
    row = interact.summary(results(noise=1.0), least=2).set_index(["kind", "words"]).loc[("and", "good")]
    values = [r.and_terms[frozenset({[p.text for p in r.players].index("good")})] for r in results(noise=1.0)[:4]]
    # 3.1824 is the 97.5 % point of Student's t with three degrees of freedom.
    half = 3.1824 * np.std(values, ddof=1) / 2
    assert row["mean"] == pytest.approx(np.mean(values)) and row["high"] - row["mean"] == pytest.approx(half, rel=1e-3)


def test_a_word_that_occurs_twice_is_one_word():
    game = interact.game_from(lambda masks: 1.5 * masks.any(1), ["no", "No"])
    table = interact.summary([game.interactions(noise="exact")] * 3)
    assert table[["kind", "words"]].to_numpy().tolist() == [["and", "no"]]
    assert table["mean"].tolist() == pytest.approx([1.5])


def test_the_order_of_a_row_counts_words_and_not_players():
    game = interact.game_from(lambda masks: 3.0 * masks.all(1) + 0.5 * masks[:, 0], ["film", "good", "Film"])
    found = interact.summary([game.interactions(noise="exact")] * 3).set_index(["kind", "words"])["mean"]
    assert found["and", "film & good"] == pytest.approx(3.0) and found["and", "film"] == pytest.approx(0.5)
    twice = interact.game_from(lambda masks: 2.0 * masks.all(1), ["no", "no"]).interactions(noise="exact")
    assert interact.summary([twice] * 2, order=1, least=2)["mean"].tolist() == pytest.approx([2.0])


def test_results_of_other_maskings_or_templates_are_noted():
    def result(**told):
        return interact.game_from(lambda masks: 1.0 * masks.any(1), ["a"], provenance=told).interactions()

    alike = [result(masking="baseline", baseline=f"vector sha256:{i}", template="{text}") for i in range(3)]
    interact.summary(alike)
    with pytest.warns(
        UserWarning, match="differ in their masking [(]attention and baseline[)], so their effects answer"
    ):
        interact.summary([*alike, result(masking="attention", baseline="vector", template="{text}")])
    with pytest.warns(UserWarning, match="differ in their template"):
        interact.compare(alike, [*alike[:2], result(masking="baseline", baseline="vector", template="is {text}?")])


def test_nonsense_is_refused():
    for given in (results()[0], [1], 5):
        with pytest.raises(ValueError, match="A summary needs a list of results"):
            interact.summary(given)
    with pytest.raises(ValueError, match="There are no results"):
        interact.summary([])
    with pytest.raises(ValueError, match="least is 1, but must be at least 2"):
        interact.summary(results(), least=1)
    with pytest.raises(ValueError, match="level is 95"):
        interact.summary(results(), level=95)
    game = interact.game_from(lambda masks: 1.0 * masks.any(1), ["a"], provenance={"target": {"ids": [1]}})
    other = interact.game_from(lambda masks: 1.0 * masks.any(1), ["a"], provenance={"target": {"ids": [2]}})
    with pytest.raises(ValueError, match="different targets or scores"):
        interact.summary([game.interactions(), other.interactions()])
