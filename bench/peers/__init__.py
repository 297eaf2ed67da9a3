"""Ours beside shapiq 1.8's approximators, where all 2**n scores of real prompts are known (`bench.lattices`).

::

    python3.12 -m venv runs/shapiq
    runs/shapiq/bin/pip install shapiq==1.8.0 lightgbm xgboost-cpu sparse-transform
    python -m bench.peers --python runs/shapiq/bin/python      # resumable; ends in the table of docs/sampled.md

Every method may ask for the same number of scores (ours pays for its held-out ones from them) and is judged on all 2**n
scores, and on the Shapley values of all of them. shapiq 1.8 needs Python 3.12, so its side (`bench.peers.theirs`) runs
as a process of its own, which reads the lattice's file.
"""
