"""The process in which shapiq 1.8 fits (`bench/peers/theirs.py`): it asks for scores over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from interact.sparse import Value

_SCRIPT = Path(__file__).parent / "theirs.py"
_MISSING = (
    "{0} is not there. Make it: python3.12 -m venv runs/shapiq && runs/shapiq/bin/pip install shapiq==1.8.0 lightgbm "
    "xgboost-cpu sparse-transform; or name another Python by --python."
)


class Refused(Exception):
    """A method that does not take what was given, in its own words."""


class Process:
    """A Python with shapiq 1.8, started when it is first asked.

    Args:
        python: Its executable.
        command: What to run instead of ``theirs.py`` with it.
    """

    def __init__(self, python: Path, command: Sequence[str] | None = None) -> None:
        self._python, self._command = python, command
        self._running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._running is not None:
            assert self._running.stdin is not None and self._running.stdout is not None
            self._running.kill()
            self._running.wait()
            self._running.stdin.close()
            self._running.stdout.close()

    def fit(self, given: dict[str, Any], ask: Value) -> dict[str, Any]:
        """Fit a method to the scores that it asks for.

        Args:
            given: ``method``, of ``theirs.METHODS``; ``n`` players; ``budget``, the coalitions that the method may ask
                for; ``seed`` of its draws; ``empty``, the score without any player; ``both``, whether Shapley values
                are wanted beside a prediction of scores.
            ask: The scores, bool [m, n] to float [m].

        Returns:
            ``tables``, the effects by which the method predicts scores, a list of [players, effect] by name;
            ``shapley``, the values of the players or None; ``seconds`` of its CPU.

        Raises:
            Refused: The method raised an error.
            SystemExit: There is no such Python, or its process ended.
        """
        self._write(given)
        while "ask" in (answer := self._read()):
            rows = [np.frombuffer(bytes.fromhex(mask), dtype=np.uint8) for mask in answer["ask"]]
            packed = np.array(rows, dtype=np.uint8).reshape(len(rows), -1)
            masks = np.unpackbits(packed, axis=1, count=given["n"], bitorder="little").astype(bool)
            self._write({"scores": np.asarray(ask(masks), dtype=np.float64).tolist()})
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["found"]

    def _write(self, message: dict[str, Any]) -> None:
        running = self._started()
        assert running.stdin is not None
        try:
            running.stdin.write(json.dumps(message) + "\n")
            running.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _read(self) -> dict[str, Any]:
        running = self._started()
        assert running.stdout is not None
        line = running.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _started(self) -> subprocess.Popen[str]:
        if self._running is None:
            if self._command is None and not self._python.exists():
                raise SystemExit(_MISSING.format(self._python))
            command = list(self._command or (str(self._python), str(_SCRIPT)))
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            environment.pop("PYTHONPATH", None)
            print(f"shapiq runs as a process of its own: {' '.join(command)}", flush=True)
            # In a session of its own, so that Ctrl-C interrupts the scoring and this end closes the process.
            self._running = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
        return self._running

    def _ended(self) -> SystemExit:
        assert self._running is not None
        code = self._running.wait()
        return SystemExit(f"The process of shapiq ended with the code {code}; what it gave is kept.")
