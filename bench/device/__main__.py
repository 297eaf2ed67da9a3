"""The command line: ``python -m bench.device [--only STAGES] [--deadline SECONDS] [--out FOLDER] [--rehearse]``."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from bench.device import plan
from bench.device.supervisor import ROOT, Supervisor


def main(arguments: list[str] | None = None) -> int:
    """Run the stages and print the tables; return 1 when something is wrong or did not run to its end."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.device", description="Whether the project builds, is right and is fast on a GPU."
    )
    names = ", ".join(stage.name for stage in plan.STAGES)
    parser.add_argument("--only", metavar="STAGES", default="", help=f"some stages, with commas between: {names}")
    parser.add_argument("--deadline", type=float, default=plan.DEADLINE, help="seconds for everything (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/device", help="folder of the results (%(default)s)")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny: finds mistakes, measures nothing")
    options = parser.parse_args(arguments)
    try:
        stages = plan.chosen(options.only, options.rehearse)
    except ValueError as error:
        parser.error(str(error))
    if not (ROOT / "setup.py").exists():
        parser.error(f"it builds the project and needs a checkout, but {ROOT} holds no setup.py.")
    supervisor = Supervisor(stages, options.out.resolve(), options.deadline, options.rehearse)
    supervisor.run()
    print(f"\n{supervisor.text()}\nWritten to {options.out}: device.json, device.md, device.log.")
    return int(supervisor.red())


if __name__ == "__main__":
    # Stages are sessions of their own: who ends this process ends them, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
