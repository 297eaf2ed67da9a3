"""Ours beside shapiq 1.8's approximators and others: on whole lattices, on real texts, on planted games.

::

    python3.12 -m venv runs/shapiq
    runs/shapiq/bin/pip install shapiq==1.8.0 lightgbm xgboost-cpu sparse-transform
    python -m bench.peers              # where all 2**n scores are known (`bench.lattices`)
    python -m bench.peers.texts        # reviews, documents, a question on many documents, planted games
    python -m bench.peers.curve        # R^2 by budget for documents, and what was expected of it

The rows behind docs/sampled.md are in ``kept``: ``--only-table --folder bench/peers/kept``.

Every command goes on where it was interrupted and ends in its tables. ``--python`` names another Python with shapiq
1.8; ``--methods``, ``--budgets`` and, of texts, ``--groups`` and ``--texts`` do a part of the work now and leave the
rest.

Every method may ask for the same number of scores of the same model (ours pays for its held-out ones from them) and is
judged by the same: all 2**n scores and the Shapley values of a lattice, or coalitions of a text that no method saw,
half of density 1/2 and half of all sizes, and the change of the score where the players that it thinks matter most go,
or come alone. Ours predicts by the Gaussian process behind its result (`sparse.posterior`) where there is one; "ours,
listed terms" is the terms of the result alone. pairwise and LIME fit the coalitions that ours asked for. shapiq 1.8
needs Python 3.12, so it fits in a process of its own (`bench.peers.theirs`), which asks for scores over a pipe.
"""
