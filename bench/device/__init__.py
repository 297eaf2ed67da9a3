"""Whether the project builds, is right and is fast on a GPU, in one command: ``python -m bench.device``.

1. The library is built for the card that is there, and the card's ceilings are measured.
2. Every kernel is held against its reference in float64, side by side with the GPU tests and compute-sanitizer.
3. Then, one after the other: attention, whole models, lattice transforms, the split and its factorizations.

Each stage is a process with a deadline of its own. What it has found is kept whatever happens to it, and is written
after each group of stages: ``device.json`` (every case and time), ``device.md`` (the tables of RESULTS.md) and
``device.log``.

On a borrowed card: copy the working tree there (no installation, no network; Python with torch, triton, transformers,
numpy, scipy, pybind11, setuptools, pytest and hypothesis, a CUDA toolkit to build) and run in its root
``python -m bench.device --out FOLDER``, which ends within 480 seconds. Where less time is left, ``--deadline`` says
how many seconds there are, and ``--only tree,attention-speed`` picks stages; without ``build`` they use the library
that is there. Put ``device.md`` into bench/RESULTS.md. Without a card, ``--rehearse`` runs every line on the CPU.
"""
