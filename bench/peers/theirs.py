"""shapiq's approximators over a pipe; run by a Python that has shapiq 1.8, without this project.

``python theirs.py`` reads one JSON object a line: what to fit. While it fits, it prints ``{"ask": [MASK, ...]}``, each
mask in hexadecimal, and reads ``{"scores": [...]}``; it ends the fit with ``{"found": {...}}`` or
``{"refused": "..."}`` (`bench.peers.process` is the other end).
"""

import json
import os
import sys
import time
import warnings

import numpy as np
import shapiq

warnings.simplefilter("ignore")
ORDER = 3
"""Of the interactions by which a method is asked to predict scores: more of them did not predict better."""


def values_of(found):
    """Return the effects of an InteractionValues by tuple of players."""
    return {key: float(found.values[place]) for key, place in found.interaction_lookup.items()}


def singles(found, n):
    """Return the values of single players."""
    table = values_of(found)
    return [table.get((i,), 0.0) for i in range(n)]


def proxy_spex(n, budget, seed, ask, both):
    """Fit ProxySPEX once; its Moebius form is its prediction, and gives FBII and Shapley values."""
    kept = {}

    class Keeping(shapiq.ProxySPEX):
        def _process_moebius(self, moebius_transform):
            kept.update(moebius_transform)
            return super()._process_moebius(moebius_transform)

    index = {"index": "FBII", "max_order": ORDER} if both else {"index": "SV", "max_order": 1}
    found = Keeping(n=n, random_state=seed, **index).approximate(budget, ask)
    if not both:
        return {"whole": kept}, None
    shapley = np.zeros(n)
    for members, effect in kept.items():
        shapley[list(members)] += effect / max(len(members), 1)
    return {"whole": kept, "FBII": values_of(found)}, shapley.tolist()


def with_index(kind):
    """Return a fit by an approximator of FBII and, in a second call with the same seed, of Shapley values."""

    def fit(n, budget, seed, ask, both):
        found = kind(n=n, index="FBII", max_order=ORDER, random_state=seed).approximate(budget, ask)
        again = kind(n=n, index="SV", max_order=1, random_state=seed).approximate(budget, ask) if both else None
        return {"FBII": values_of(found)}, singles(again, n) if both else None

    return fit


def of_values(kind, **options):
    """Return a fit by an approximator of Shapley values alone."""

    def fit(n, budget, seed, ask, both):
        return {}, singles(kind(n=n, random_state=seed, **options).approximate(budget, ask), n)

    return fit


METHODS = {
    "ProxySPEX": proxy_spex,
    "ProxySHAP": with_index(shapiq.ProxySHAP),
    "SPEX": with_index(shapiq.SPEX),
    "KernelSHAP": of_values(shapiq.KernelSHAP),
    "LeverageSHAP": of_values(shapiq.LeverageSHAP),
    "RegressionMSR": of_values(shapiq.RegressionMSR, index="SV"),
    "PolySHAP": of_values(shapiq.PolySHAP, max_order=2),
    "OddSHAP": of_values(shapiq.OddSHAP),
}


def main():
    """Answer one fit after another."""
    # LightGBM writes on standard output, which is for answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        given = json.loads(line)
        n, empty = given["n"], given["empty"]

        def ask(masks, n=n, empty=empty):
            rows = np.asarray(masks, dtype=bool).reshape(-1, n)
            packed = np.packbits(rows, axis=1, bitorder="little")
            print(json.dumps({"ask": [row.tobytes().hex() for row in packed]}), file=answers, flush=True)
            # Their games are normalised to v(empty) = 0.
            return np.array(json.loads(sys.stdin.readline())["scores"]) - empty

        start = time.process_time()
        try:
            tables, shapley = METHODS[given["method"]](n, given["budget"], given["seed"], ask, given["both"])
            kept = {
                name: [[list(map(int, members)), effect] for members, effect in table.items() if effect]
                for name, table in tables.items()
            }
            found = {"tables": kept, "shapley": shapley, "seconds": time.process_time() - start}
            answer = {"found": found}
        except Exception as error:
            answer = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
