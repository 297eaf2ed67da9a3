"""Copy the tables of a study to docs/results/, from which `make results` makes docs/results.md.

    python docs/export.py NAME --store FOLDER    # to docs/results/NAME/

All effects and scores of all cells, the losses, the samples, which interactions are certain, the strength of the
permuted change, and the configuration. Texts are hashed, and no folder of the machine is named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results import MOST, SHOWN, SPLITS, TABLES

from interact.evolution import NoiseOptions
from interact.formats.schema import runs_in, short_name
from interact.study import tables
from interact.study.certainty import certainty_of_cells
from interact.study.chance import chance
from interact.study.repetitions import null_again, scores_of
from interact.study.samples import load as load_samples
from interact.study.store import Store
from interact.study.work import cells as work_of
from interact.study.work import runs as runs_of


def export(name: str, store: Path) -> Path:
    """Copy what a study found to docs/results/NAME, without the folders of the machine that ran it.

    Raises:
        ValueError: The store holds no study, or one that is not finished; or all tables together would take more than
            10 MB.
    """
    study, folder = Store.open(store), TABLES / name
    prepared = load_samples(study.folder / "samples.json")
    work = list(work_of(study.config, prepared))
    if missing := [cell.key for cell in work if not study.cell(cell.key).is_file()]:
        raise ValueError(
            f"{len(missing)} of {len(work)} cells of {store} are not done, the first {missing[0]}; finish the study "
            "first."
        )
    made = (*tables.of_cells(study, work), _without_texts(tables.of_samples(prepared.samples)))
    found: dict[str, pd.DataFrame] = {}
    found |= zip(SHOWN, (*made, tables.of_losses(study, runs_of(study.config), print)), strict=True)
    found["certainty"] = outward(certainty_of_cells(study, work, found["interactions"]))
    trained = set(found["samples"].loc[found["samples"]["split"] == "train", "sample"])
    held = found["cells"][~found["cells"]["sample"].isin(trained)]
    parts = [chance(study, run, held[held["run"] == run.name], work).strength for run in runs_of(study.config)]
    found["null"] = pd.concat(parts, ignore_index=True)
    found["scores"] = scores_of(study, work)
    own = found["scores"][~found["scores"]["sample"].isin(trained)]
    for form in SPLITS.values():
        options = NoiseOptions(
            **form, tau=study.config.tau, rule=study.config.tau_rule, definition=study.config.classes
        )
        found[f"null-{form['noise']}"] = null_again(own, held, options)
    for rows in found.values():
        for column in ("run", "model", "data"):
            if column in rows:
                rows[column] = rows[column].map({v: _without_folders(str(v)) for v in rows[column].unique()})
    config: dict[str, Any] = json.loads((study.folder / "config.json").read_text("utf-8"))
    config = {
        key: [short_name(v) for v in value] if key in ("models", "data") else value for key, value in config.items()
    }
    if given := dict(config.get("checkpoints") or {}):
        config["checkpoints"] = {short_name(name): short_name(path) for name, path in given.items()}
    versions = json.loads((study.folder / "manifest.json").read_text("utf-8"))["versions"]
    TABLES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TABLES) as made:
        for table, rows in found.items():
            keep(rows, Path(made) / f"{table}.parquet")
        size = sum(path.stat().st_size for path in TABLES.rglob("*.parquet") if path.parent != folder)
        if size > MOST:
            raise ValueError(f"All tables would take {size} bytes, but at most {MOST} are kept; leave a study out.")
        folder.mkdir(exist_ok=True)
        for path in Path(made).iterdir():
            path.replace(folder / path.name)
    (folder / "config.json").write_text(json.dumps({**config, "versions": versions}, indent=1) + "\n", "utf-8")
    return folder


def _without_texts(samples: pd.DataFrame) -> pd.DataFrame:
    """Return a table `samples` with a hash of each text: texts of others stay out of the repository."""
    hashes = samples["text"].map(lambda text: hashlib.sha256(str(text).encode()).hexdigest()[:16])
    return samples.drop(columns=["text", "players"]).assign(text_sha256=hashes)


def outward(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table `certainty` with bounds of 16 significant bits, a little wider: they take half the bytes."""
    bounds = {}
    for column, away in (("low", np.floor), ("high", np.ceil)):
        fraction, power = np.frexp(rows[column].to_numpy())
        bounds[column] = np.ldexp(away(fraction * 2**16), power - 16)
    return rows.assign(**bounds)


def keep(rows: pd.DataFrame, path: Path) -> None:
    """Write a table as small as it gets: numbers with their bytes apart, effects as precisely as scores (float32)."""
    if "effect" in rows:
        rows = rows.assign(effect=rows["effect"].astype(np.float32).astype(np.float64))
    numbers = [str(name) for name, dtype in rows.dtypes.items() if dtype == np.float64]
    others = [str(name) for name in rows.columns if name not in numbers]
    apart: dict[str, Any] = {"use_dictionary": others, "use_byte_stream_split": numbers}
    rows.to_parquet(path, index=False, compression="zstd", compression_level=19, **apart)


def _without_folders(name: str) -> str:
    parts = name.rsplit("/seed-", 1)
    known = runs_in(pd.DataFrame({"run": [name]}))[name]
    if len(parts) == 1 or known.seed is None:
        return short_name(name)
    return f"{short_name(known.model)}/{short_name(known.data)}/seed-{parts[1]}"


def main() -> None:
    """Export a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the folder in docs/results/")
    parser.add_argument("--store", type=Path, required=True, help="folder of the study")
    given = parser.parse_args()
    print(export(given.name, given.store))


if __name__ == "__main__":
    main()
