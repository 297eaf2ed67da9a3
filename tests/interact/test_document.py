"""Long documents: a tree whose children sum to their parents, windows, and what more scores would explain."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import interact
from interact import sparse
from interact.prompt.windows import cut
from interact.results import Part, parts_of
from interact.sparse import SparseOptions
from interact.study.report import write_results
from tests.interact.conftest import causal

TEXT = (
    "The lease began in March. The tenant paid every month.\n\nIn June the old heating failed again. The landlord "
    "never answered. Nothing at all was repaired <b>.\n\nThe court heard both sides. The rent was cut."
)
QUICK = SparseOptions(bootstraps=0, proxy=False)


@pytest.fixture(scope="module")
def ask(byte_level):
    asked = {"method": "sparse", "target": 7, "template": "Text: {text} Answer:", "sparse": QUICK}
    return partial(interact.extract, causal(), byte_level, TEXT, **asked)


@pytest.fixture(scope="module")
def found(ask):
    return sparse.document(ask(players="sentences", budget=100), ask, budget=60, keep=2)


def every(part):
    return [part, *(p for child in part.children for p in every(child))]


def test_children_sum_to_their_parents(found):
    tree = parts_of(found)
    for part in every(tree):
        if part.children:
            assert sum(child.value for child in part.children) == pytest.approx(part.value, abs=1e-9)
    empty = found.values[~found.coalitions.any(1)][0]
    assert tree.value == pytest.approx(found.total - empty, abs=1e-6)
    assert [p.kind for p in tree.children] == ["paragraph"] * 3
    assert [len(p.children) for p in tree.children] == [2, 3, 2]
    opened = [p for p in every(tree) if p.kind == "sentence" and p.children]
    sentences = [abs(p.value) for p in every(tree) if p.kind == "sentence"]
    assert len(opened) == 2 and min(abs(p.value) for p in opened) >= sorted(sentences)[-2] - 1e-12


def test_players_that_are_paragraphs_are_called_so(ask):
    tree = parts_of(sparse.document(ask(players="paragraphs", budget=30), ask, budget=60, keep=0))
    assert [part.kind for part in tree.children] == ["paragraph"] * 3


def test_words_are_judged_with_the_rest_of_the_document_present(found, ask, byte_level):
    template = "Text: {text} Answer:"
    for sentence in [p for p in every(parts_of(found)) if p.kind == "sentence" and p.children]:
        assert sentence.children[-1].kind == "rest" and sentence.scores <= 60
        words, low = [p for p in sentence.children if p.kind == "word"], TEXT.index(sentence.text)
        places = [(TEXT.index(w.text, low), TEXT.index(w.text, low) + len(w.text)) for w in words]
        game = interact.game(causal(), byte_level, TEXT, target=7, template=template, players=places)
        without, whole = game([0, 2**game.n - 1])
        assert sum(w.value for w in words) == pytest.approx(whole - without, abs=1e-4)


def test_the_tree_is_shown_everywhere_and_kept(found, tmp_path):
    tree = parts_of(found)
    assert "\n".join(tree.lines()) in str(found)
    back = interact.load(found.save(tmp_path / "x.interactions"))
    assert parts_of(back) == tree
    page = write_results([back], tmp_path / "x.html").read_text("utf-8")
    for shown in (found._repr_html_(), page):
        assert "beside its words" in shown and "repaired &lt;b&gt;." in shown and "<details open>" in shown
    assert "values add up" in page and "values add up" not in write_results(
        [interact.game_from(lambda m: m.sum(1), 2).interactions()], tmp_path / "y.html"
    ).read_text("utf-8")


def test_a_tree_of_small_values_keeps_its_digits():
    child = {"kind": "sentence", "text": "A film.", "value": 2.5e-9, "error": 1e-10, "children": ()}
    tree = Part.of({**child, "kind": "document", "value": 3e-9, "children": (child,)})
    assert "+2.50e-09 ± 1.00e-10" in tree.lines()[1] and "+3.00e-09" in tree.html()


def test_what_is_no_tree_is_a_sentence(found, ask):
    for record in ({}, None, {"kind": "leaf", "text": "x", "value": 1, "children": []}, {"children": 3}):
        with pytest.raises(ValueError, match="not a part of a text"):
            Part.of(record)
    with pytest.raises(ValueError, match="keep says how many sentences"):
        sparse.document(found, ask, keep=-1)
    with pytest.raises(ValueError, match="must be of sampled coalitions"):
        sparse.document(interact.game_from(lambda m: m.sum(1), 2).interactions(), ask)


def test_exact_results_have_no_outlook_and_open_no_sentence(found):
    exact = interact.game_from(lambda m: m.sum(1), 2).interactions()
    with pytest.raises(ValueError, match="pass one of method='sparse'"):
        sparse.outlook(exact)
    with pytest.raises(ValueError, match="`again` must return a result of sampled coalitions"):
        sparse.document(found, lambda **_: exact, keep=1)


def test_a_text_beyond_the_context_is_offered_in_windows(byte_level):
    model = causal()
    model.config.max_position_embeddings = 90
    with pytest.raises(
        ValueError, match=r"context holds 90, and nothing is cut in silence; explain .* interact.windows"
    ):
        interact.game(model, byte_level, TEXT, target=7)
    windows = interact.windows(model, byte_level, TEXT)
    assert len(windows) > 1 and "".join("".join(windows).split()) == "".join(TEXT.split())
    for window in windows:
        assert interact.game(model, byte_level, window, target=7, players=1).n == 1
    # None could have taken the first sentence of the next.
    for first, second in itertools.pairwise(windows):
        end = TEXT.index(second) + second.index(".") + 1
        assert len(interact.prepare(byte_level, TEXT[TEXT.index(first) : end], players=1).input_ids) > 90 - 16
    with pytest.raises(ValueError, match="alone makes a prompt of 45 tokens, more than 20; cut it yourself"):
        cut(byte_level, TEXT, 20)
    assert interact.windows(causal(), byte_level, TEXT) == [TEXT]
    with pytest.raises(ValueError, match="nothing to cut"):
        cut(byte_level, " ", 90)


def rough(n, seed=0):
    """Return a value function of many weak effects of players and pairs."""
    rng = np.random.default_rng(seed)
    size = 0.8 ** np.arange(n)
    single, pairs = rng.normal(size=n) * size, np.triu(rng.normal(size=(n, n)) * np.outer(size, size), 1)

    def value(masks):
        z = np.where(masks, 1.0, -1.0)
        return z @ single + np.einsum("mi,ij,mj->m", z, pairs, z)

    return value


def test_an_outlook_says_what_more_scores_explain():
    value, n = rough(24), 24
    options = SparseOptions(bootstraps=0, proxy=False, estimator="gaussian", design="uniform", repeats=0)
    first = sparse.explain(value, n, budget=120, options=options)
    found = sparse.outlook(first)
    assert found.budgets[:3] == (120, 180, 240) and abs(found.r2[0] - first.fidelity(0.0).r2) < 0.3
    assert list(found.r2) == sorted(found.r2) and found.r2[-1] <= 1
    masks = np.random.default_rng(9).random((2000, n)) < 0.5
    truth = value(masks)
    for budget, expected in list(zip(found.budgets, found.r2, strict=True))[2:4]:
        later = sparse.explain(value, n, budget=budget, options=options)
        reached = 1 - ((later.predict(masks) - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        assert abs(reached - expected) < 0.1
    # Of a mixed design, which is drawn on likewise, more scores explain no less than it says.
    mixed = sparse.outlook(sparse.explain(value, n, budget=120, options=replace(options, design="auto")))
    later = sparse.explain(value, n, budget=mixed.budgets[2], options=replace(options, design="auto"))
    assert later.fidelity(0.0).r2 > mixed.r2[2] - 0.05 > mixed.r2[0] - 0.05
    middle = (found.r2[0] + found.r2[-1]) / 2
    assert 120 < found.needed(middle) < found.budgets[-1]
    assert found.needed(0.0) == 120 and found.needed(1.1) is None
    assert first.provenance["outlook"]["r2"] == list(found.r2) and "with more scores expect" in str(first)
    assert str(found).startswith(f"R^2 {found.r2[0]:.2f} from 120 scores; expect about")
    with pytest.raises(ValueError, match="No scores were held out"):
        sparse.outlook(sparse.explain(lambda m: m.sum(1), 3, options=options))
