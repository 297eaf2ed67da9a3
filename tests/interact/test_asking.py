"""Functions that answer late, wrongly, never or at random; runs that are stopped, killed, or long."""

import json
import logging
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import interact
from interact import sparse
from interact.formats.progress import Progress
from interact.sparse import Asking, ScoreCache, SparseOptions
from interact.sparse.asking import score
from interact.sparse.stability import with_spread
from tests.interact.conftest import causal

QUICK = {"bootstraps": 0, "proxy": False, "wait": 0.0}


def pair(masks):
    return 2.0 * masks[:, [1, 4]].all(1) + masks[:, 2]


def test_a_function_that_fails_now_and_then_is_asked_again():
    rng, failures = np.random.default_rng(0), []

    def shaky(masks):
        if rng.random() < 0.5:
            failures.append(len(masks))
            raise ConnectionError("503")
        return pair(masks)

    options = SparseOptions(**QUICK, retries=8, batch=32)
    r = sparse.explain(shaky, 12, budget=300, options=options)
    assert failures and r.provenance["failed"] == 0 and r.provenance["spread"] == 0.0
    assert r.and_terms == {frozenset({1, 4}): pytest.approx(2.0), frozenset({2}): pytest.approx(1.0)}
    exact = interact.game_from(shaky, 5, asking=Asking(batch=4, retries=8, wait=0)).interactions(kappa=0)
    assert exact.and_terms == {frozenset({1, 4}): pytest.approx(2.0), frozenset({2}): pytest.approx(1.0)}


def test_a_server_that_went_away_ends_the_run_and_its_scores_stay(tmp_path, monkeypatch):
    calls, waits = [], []
    monkeypatch.setattr(time, "sleep", waits.append)

    def leaving(masks):
        calls.append(len(masks))
        if len(calls) > 5:
            raise ConnectionError("refused")
        return pair(masks)

    path, asking = tmp_path / "x.scores", Asking(batch=20, retries=3, wait=0.5)
    game = interact.game_from(leaving, 30, asking=asking, name="server")
    with pytest.raises(
        RuntimeError, match=r"4 times in a row.*refused\). The \d\d scores so far are kept in .*x.scores"
    ):
        game.interactions("sparse", budget=400, cache=path)
    # One batch in four tries, and one coalition that had a score.
    assert calls[5:] == [20, 20, 20, 20, 1] and waits == [0.5, 1.0, 2.0]
    back = interact.game_from(pair, 30, asking=asking, name="server").interactions("sparse", budget=400, cache=path)
    assert back.and_terms[frozenset({1, 4})] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="holds no scores of this value function"):
        interact.game_from(pair, 30, name="other").interactions("sparse", budget=400, cache=path)


def test_scores_stay_where_the_function_fails_when_it_is_asked_a_second_time(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    seen = set()

    def once(masks):
        keys = {row.tobytes() for row in masks}
        if keys & seen:
            raise ConnectionError("down")
        seen.update(keys)
        return pair(masks)

    with pytest.warns(UserWarning, match="so it is not known whether its scores are random"):
        r = sparse.explain(once, 12, budget=200, options=SparseOptions(**QUICK))
    assert r.and_terms == {frozenset({1, 4}): pytest.approx(2.0), frozenset({2}): pytest.approx(1.0)}


def test_a_function_that_never_answers_is_said_soon_and_tensors_are_scores(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    weight = torch.ones(30, requires_grad=True)
    with pytest.raises(ValueError, match=r"scored 0; .*RuntimeError: mat1 and mat2"):
        sparse.explain(lambda m: (torch.tensor(m).float() @ weight[:29, None])[:, 0], 30)
    assert sum(waits) <= 15
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        r = sparse.explain(lambda m, dtype=dtype: (torch.tensor(m).to(dtype) * weight[:6].to(dtype)).sum(1), 6)
        assert dict(r.and_terms) == pytest.approx({frozenset({i}): 1.0 for i in range(6)})


def test_a_refused_coalition_costs_no_other_its_score_and_garbled_replies_are_asked_again():
    calls = []

    def server(masks):
        calls.append(len(masks))
        if len(calls) % 4 == 0:
            raise ConnectionError("503")
        if len(calls) % 7 == 0:
            json.loads("<html>busy</html>")
        if (masks == np.array([True, False, True, True, False, True])).all(1).any():
            raise ConnectionError("this prompt is refused")
        return masks.sum(1) + 0.0

    cache = ScoreCache()
    masks = np.arange(64)[:, None] >> np.arange(6) & 1 == 1
    with pytest.warns(UserWarning, match="failed for 1 coalitions"):
        values = score(server, masks, cache, Asking(batch=16, retries=3, wait=0))
    assert np.isnan(values).sum() == 1


def test_a_game_keeps_to_the_way_it_is_asked():
    sizes = []

    def counted(masks):
        sizes.append(len(masks))
        return pair(masks)

    game = interact.game_from(counted, 8, asking=Asking(batch=4))
    game.interactions("sparse", budget=60, sparse=SparseOptions(paired=True))
    assert max(sizes) <= 4
    with pytest.raises(ValueError, match="must be whole numbers"):
        Asking(batch=2.5)


def test_an_error_of_what_was_given_is_not_tried_again():
    calls = []

    def broken(masks):
        calls.append(len(masks))
        raise KeyError("no such tensor")

    started = time.monotonic()
    with pytest.raises(ValueError, match="no such tensor"):
        sparse.explain(broken, 30, budget=300)
    assert time.monotonic() - started < 5 and len(calls) < 300


def test_wrong_lengths_and_nan_are_sentences():
    with pytest.raises(ValueError, match=r"one score per coalition, shape \(128,\), but returned \(3,\)"):
        interact.game_from(lambda m: np.zeros(3), 30).interactions("sparse")
    with pytest.raises(
        ValueError, match=r"failed for 65 coalitions and scored 0; the first is the mask .*: its score is nan"
    ):
        interact.game_from(lambda m: np.full(len(m), np.nan), 30).interactions("sparse")


@pytest.mark.parametrize("n", [4, 16])
def test_the_spread_of_a_random_function_is_said_and_enters_the_error_bars(n):
    noise = np.random.default_rng(1)

    def random(masks):
        return 2.0 * masks[:, [0, 1]].all(1) + 0.3 * noise.normal(size=len(masks))

    asked = SparseOptions(bootstraps=2, proxy=False, repeats=200)
    r = sparse.explain(random, n, budget=300 if n > 4 else 16, options=asked)
    spread = r.provenance["spread"]
    assert spread == pytest.approx(0.3, rel=0.15 if n > 4 else 0.6)
    assert f"{spread:.3g} from call to call" in str(r) and "from call to call" in r._repr_html_()
    least = spread * 2.0 if n == 4 else spread / np.sqrt(len(r.values) * 3 / 16)
    effect = next(i for i in r.top(30) if i.members == {0, 1})
    assert effect.error >= 0.9 * least
    steady = sparse.explain(pair, 12, budget=100, options=SparseOptions(**QUICK))
    assert steady.provenance["spread"] == 0.0 and "from call to call" not in str(steady)


def test_errors_are_at_least_what_the_spread_makes_of_them():
    masks = np.random.default_rng(0).random((400, 8)) < 0.5
    x = masks[:, 3].astype(float)
    draws = np.random.default_rng(1).normal(scale=0.5, size=(2000, 400))
    slopes = draws @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    floor = with_spread(np.array([np.nan]), [("and", frozenset({3}))], masks, 0.5)
    assert floor[0] == pytest.approx(slopes.std(), rel=0.05)
    assert with_spread(np.array([9.0]), [("and", frozenset({3}))], masks, 0.5)[0] == 9.0


CRASHING = """
import sys, time
import numpy as np
from interact import sparse

def slow(masks):
    time.sleep(0.01)
    return 2.0 * masks[:, [1, 4]].all(1)

sparse.explain(slow, 25, budget=5000, cache=sys.argv[1], options=sparse.SparseOptions(batch=5))
"""


def test_a_killed_run_keeps_its_scores(tmp_path):
    path = tmp_path / "x.scores"
    with subprocess.Popen([sys.executable, "-c", CRASHING, str(path)]) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and not (path.exists() and path.stat().st_size > 2000):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = ScoreCache(path)
    kept.open(25)
    masks, values = kept.listed()
    assert process.returncode == -signal.SIGKILL and len(masks) > 50
    np.testing.assert_array_equal(values, 2.0 * masks[:, [1, 4]].all(1))


def test_ctrl_c_keeps_the_scores_of_an_exact_run(byte_level, monkeypatch, tmp_path):
    from interact.engines.flat import Flat

    whole, text = Flat.run, "a gorgeous witty seductive movie with no boring scene"
    asked = {"target": 7, "engine": "flat", "memory_budget": 1 << 20, "kappa": 0.02}
    model, seen = causal(), []
    plain = interact.extract(model, byte_level, text, **asked)

    def stopping(self, plan, rows, size):
        for number, batch in enumerate(whole(self, plan, rows, 8)):
            if number == 3 and not seen:
                seen.append(len(rows))
                raise KeyboardInterrupt
            yield batch

    rows = []

    def counted(self, plan, some, size):
        rows.append(len(some))
        return whole(self, plan, some, size)

    for cache in (None, tmp_path / "x.scores"):
        seen.clear()
        monkeypatch.setattr(Flat, "run", stopping)
        with pytest.raises(sparse.Interrupted, match="interrupted after 24 scores") as stopped:
            interact.extract(model, byte_level, text, cache=cache, **asked)
        rows.clear()
        monkeypatch.setattr(Flat, "run", counted)
        again = interact.extract(model, byte_level, text, cache=cache or stopped.value.scores, **asked)
        assert rows == [2**again.n - 24]
        np.testing.assert_allclose(again.values, plain.values, atol=1e-5)
    with pytest.raises(ValueError, match="scores of another game"):
        interact.extract(model, byte_level, text, cache=stopped.value.scores, **{**asked, "target": 8})


def test_the_cost_is_known_before_and_said_after_the_first_batch(byte_level, monkeypatch, caplog):
    text = " ".join(f"word{i}" for i in range(24))
    game = interact.game(causal(), byte_level, text, target=7, most_players=99)
    cost = game.cost(budget=2000)
    flat = interact.game(causal(), byte_level, text, target=7, most_players=99, engine="flat")
    assert cost.coalitions == 2000 and cost.engine == "tree" and 0 < cost.memory < 1 << 30
    assert cost.flat_tokens == 2000 * len(game.ids) == flat.cost(budget=2000).tokens and cost.tokens < cost.flat_tokens
    assert f"{cost.tokens:,} tokens (" in str(cost) and "of memory beside the model" in str(cost)
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "interact.progress"):
        game.interactions("sparse", budget=200, sparse=SparseOptions(bootstraps=0, proxy=False))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("at most 198 coalitions, ") and " tokens (" in line and "measured on the first 24" in line
    assert "about 5 min to go" in line


def test_short_runs_and_quiet_ones_say_nothing(caplog, monkeypatch):
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "interact.progress"):
        sparse.explain(pair, 30, budget=200, progress=False, options=SparseOptions(**QUICK))
        Progress.of(None).begin(2).update(2)
    assert not caplog.records


def test_a_bar_stands_below_the_sentence(capsys, monkeypatch):
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr("interact.formats.progress.time.monotonic", lambda: next(clock))
    with Progress(shown=True, cost=lambda: "9 tokens").begin(100) as told:
        told.update(50)
    err = capsys.readouterr().err
    assert "interact: 100 coalitions, 9 tokens; about 40 s to go, measured on the first 50." in err and "0/100 [" in err
