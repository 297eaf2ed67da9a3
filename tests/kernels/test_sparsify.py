"""The AND-OR split: exact matching, certified optimum, bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interact_kernels import sparsify


def planted(n: int, terms: int, noise: float, seed: int) -> np.ndarray:
    """Scores of a few AND and OR interactions, plus noise."""
    rng = np.random.default_rng(seed)
    masks = np.arange(1 << n)
    v = noise * rng.normal(size=1 << n) + rng.normal()
    for _ in range(terms):
        term, effect = rng.integers(1, 1 << n), rng.normal()
        v += effect * ((masks & term) == term if rng.random() < 0.5 else (masks & term) != 0)
    return v


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 6), kappa=st.sampled_from([0.0, 0.02, 0.04, 0.5]), seed=st.integers(0, 99))
def test_split_matches_and_is_optimal(n, kappa, seed):
    v = planted(n, 2 * n, 0.05, seed)
    split = sparsify.and_or_split(v, kappa=kappa)
    verdict = sparsify.verify(split, v, kappa)
    assert verdict.matching < 1e-9 and verdict.noise_excess < 1e-12 and verdict.dual_excess < 1e-12
    assert abs(verdict.gap) < 1e-6 and bool(split.converged)
    assert split.i_and[0] == split.i_or[0] == split.noise[0] == 0.0


def test_published_optimum_of_a_small_game():
    """AND of two plus OR of two others, hand-made: the split finds the two terms and nothing else."""
    masks = np.arange(16)
    v = 2.0 * ((masks & 3) == 3) - 1.5 * ((masks & 12) != 0)
    split = sparsify.and_or_split(v, kappa=0.0)
    assert float(split.primal) == pytest.approx(3.5)
    assert split.i_and[3] == pytest.approx(2.0) and split.i_or[12] == pytest.approx(-1.5)


def test_scale_does_not_matter():
    v = planted(5, 8, 0.05, 1)
    one = sparsify.and_or_split(v)
    for factor in (1e-6, 1e6):
        other = sparsify.and_or_split(v * factor)
        assert float(other.primal) == pytest.approx(float(one.primal) * factor, rel=1e-6)


def test_batches_and_tensors_keep_their_kind():
    v = torch.stack([torch.as_tensor(planted(4, 5, 0.0, seed)) for seed in range(6)]).reshape(2, 3, 16)
    split = sparsify.and_or_split(v)
    assert isinstance(split.i_and, torch.Tensor) and split.i_and.shape == (2, 3, 16)
    assert split.primal.shape == (2, 3) and split.converged.all()
    assert sparsify.verify(split, v.numpy(), 0.04).matching < 1e-9
    empty = sparsify.and_or_split(v[:0])
    assert empty.i_and.shape == (0, 3, 16) and empty.primal.shape == (0, 3)


def test_constant_scores_and_no_players_give_nothing():
    for v in (np.full(8, 3.0), np.array([2.0])):
        split = sparsify.and_or_split(v)
        assert float(split.primal) == 0.0 and float(split.gap) == 0.0 and not split.i_and.any()


@pytest.mark.parametrize(
    ("v", "options", "message"),
    [
        (np.array([0.0, np.nan]), {}, "1 of 2 scores are NaN or infinite"),
        (np.array([0.0, np.inf]), {}, "NaN or infinite"),
        (np.zeros(3), {}, "2\\*\\*n scores"),
        (np.zeros(4), {"kappa": -0.1}, "kappa must be a finite number >= 0"),
        (np.zeros(4), {"rtol": 0.0}, "rtol must be a positive relative gap"),
        (np.zeros(4), {"impl": "sgd"}, "has no implementation 'sgd'"),
    ],
)
def test_bad_input_is_a_sentence(v, options, message):
    with pytest.raises(ValueError, match=message):
        sparsify.and_or_split(v, **options)


def test_a_wrong_split_is_caught_by_verify():
    v = planted(4, 5, 0.0, 3)
    split = sparsify.and_or_split(v, kappa=0.0)
    spoiled = type(split)(**{**vars(split), "i_or": split.i_or + np.eye(16)[5]})
    assert sparsify.verify(spoiled, v, 0.0).matching > 1e-3
