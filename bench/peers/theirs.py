"""shapiq's approximators on a lattice; run by a Python that has shapiq 1.8, without this project.

``python theirs.py LATTICE.npz < cells`` reads a JSON list [method, budget, seed] a line and prints a JSON
object a line.
"""

import json
import math
import os
import sys
import time
import warnings

import numpy as np
import shapiq

warnings.simplefilter("ignore")
ORDER = 3
"""Of the interactions by which a method is asked to predict scores: more of them did not predict better."""


def predicted(table, masks):
    """Return sum over T in S of effects, for every S."""
    total = np.zeros(len(masks))
    for members, effect in table.items():
        total += effect * masks[:, list(members)].all(axis=1)
    return total


def values_of(found):
    """Return the effects of an InteractionValues by tuple of players."""
    return {key: float(found.values[place]) for key, place in found.interaction_lookup.items()}


def singles(found, n):
    """Return the values of single players."""
    table = values_of(found)
    return [table.get((i,), 0.0) for i in range(n)]


def proxy_spex(n, budget, seed, ask):
    """Fit ProxySPEX once; its Moebius form is its prediction, and gives FBII and Shapley values."""
    kept = {}

    class Keeping(shapiq.ProxySPEX):
        def _process_moebius(self, moebius_transform):
            kept.update(moebius_transform)
            return super()._process_moebius(moebius_transform)

    found = Keeping(n=n, index="FBII", max_order=ORDER, random_state=seed).approximate(budget, ask)
    shapley = np.zeros(n)
    for members, effect in kept.items():
        shapley[list(members)] += effect / max(len(members), 1)
    return {"whole": kept, "FBII": values_of(found)}, shapley.tolist()


def with_index(kind):
    """Return a fit by an approximator of FBII and, in a second call with the same seed, of Shapley values."""

    def fit(n, budget, seed, ask):
        found = kind(n=n, index="FBII", max_order=ORDER, random_state=seed).approximate(budget, ask)
        again = kind(n=n, index="SV", max_order=1, random_state=seed).approximate(budget, ask)
        return {"FBII": values_of(found)}, singles(again, n)

    return fit


def of_values(kind, **options):
    """Return a fit by an approximator of Shapley values alone."""

    def fit(n, budget, seed, ask):
        return {}, singles(kind(n=n, random_state=seed, **options).approximate(budget, ask), n)

    return fit


METHODS = {
    "ProxySPEX": proxy_spex,
    "ProxySHAP": with_index(shapiq.ProxySHAP),
    "SPEX": with_index(shapiq.SPEX),
    "LeverageSHAP": of_values(shapiq.LeverageSHAP),
    "RegressionMSR": of_values(shapiq.RegressionMSR, index="SV"),
    "PolySHAP": of_values(shapiq.PolySHAP, max_order=2),
    "OddSHAP": of_values(shapiq.OddSHAP),
}


def main():
    """Answer one cell after another."""
    v = np.load(sys.argv[1])["v"].astype(float)
    n = int(math.log2(len(v)))
    # LightGBM writes on standard output, which is for rows alone.
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    everything = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    for line in sys.stdin:
        method, budget, seed = json.loads(line)
        asked = set()

        def ask(masks, asked=asked):
            keys = np.asarray(masks, dtype=bool) @ (1 << np.arange(n))
            asked.update(keys.tolist())
            # Their games are normalised to v(empty) = 0.
            return v[keys] - v[0]

        row, start = {"method": method, "budget": budget, "seed": seed}, time.process_time()
        try:
            tables, row["shapley"] = METHODS[method](n, budget, seed, ask)
            row["seconds"], row["calls"] = time.process_time() - start, len(asked)
            for name, table in tables.items():
                left = v - v[0] - predicted(table, everything)
                row[f"r2 {name}"] = float(1 - (left**2).sum() / ((v - v.mean()) ** 2).sum())
        except Exception as error:
            row["refused"] = f"{type(error).__name__}: {error}"
        print(json.dumps(row), file=rows, flush=True)


if __name__ == "__main__":
    main()
