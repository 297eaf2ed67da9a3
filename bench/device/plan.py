"""The stages: what runs, for how long at most, and what runs beside what.

Groups follow each other; the stages of a group run side by side. The build ends before any stage imports the library,
and no speed is measured while another stage works. What matters most comes first, since a deadline takes the last.
"""

from __future__ import annotations

from dataclasses import dataclass

DEADLINE = 480
"""Seconds for everything."""


@dataclass(frozen=True)
class Stage:
    """A process of its own.

    Attributes:
        name: As `--only` takes it.
        function: Module and function that run its cases, as in ``correctness:lattice``.
        limit: Seconds after which it is stopped.
        group: Stages of one group run side by side.
        argument: What the function gets beside the cases.
        rehearsed: Whether a rehearsal of all stages takes it; one that differs from another in its argument alone says
            nothing new there.
    """

    name: str
    function: str
    limit: int
    group: int
    argument: str = ""
    rehearsed: bool = True


STAGES = (
    Stage("card", "machine:card", 60, 0),
    Stage("build", "machine:build", 150, 0),
    Stage("tree", "correctness:attention", 120, 1, "tree"),
    Stage("small-trees", "correctness:small_trees", 120, 1),
    Stage("masked", "correctness:attention", 120, 1, "masked"),
    Stage("packed", "correctness:attention", 120, 1, "packed"),
    Stage("lattice-native", "correctness:lattice", 120, 1, "native"),
    Stage("lattice-triton", "correctness:lattice", 120, 1, "triton"),
    Stage("gpu-tests", "machine:gpu_tests", 100, 1),
    Stage("memcheck-tree", "machine:sanitizer", 100, 1, "memcheck tree", rehearsed=False),
    Stage("memcheck-packed", "machine:sanitizer", 100, 1, "memcheck packed", rehearsed=False),
    Stage("memcheck-native", "machine:sanitizer", 100, 1, "memcheck lattice-native"),
    Stage("memcheck-triton", "machine:sanitizer", 100, 1, "memcheck lattice-triton", rehearsed=False),
    Stage("racecheck-tree", "machine:sanitizer", 100, 1, "racecheck tree", rehearsed=False),
    Stage("racecheck-native", "machine:sanitizer", 100, 1, "racecheck lattice-native", rehearsed=False),
    Stage("attention-speed", "speed:attention", 60, 2),
    Stage("model-8b", "models:model", 165, 3, "8B", rehearsed=False),
    Stage("lattice-speed", "algebra:lattice", 45, 4),
    Stage("split-speed", "algebra:split", 70, 5),
    Stage("model-135m", "models:model", 110, 6, "135M"),
    Stage("cholesky", "algebra:cholesky", 30, 7),
    Stage("tilings", "speed:tilings", 45, 8),
    Stage("graphs", "models:graphs", 60, 9, "135M"),
    Stage("product-graphs", "models:product_graphs", 60, 10, "135M"),
    Stage("product-graphs-8b", "models:product_graphs", 90, 11, "8B", rehearsed=False),
)


def chosen(names: str, rehearse: bool = False) -> list[Stage]:
    """Return the stages of a list with commas, all for an empty one.

    Raises:
        ValueError: A name is unknown.
    """
    known = {stage.name: stage for stage in STAGES}
    wanted = [name for name in names.split(",") if name]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"No stage is called {', '.join(unknown)}; there are: {', '.join(known)}.")
    return [stage for stage in STAGES if stage.name in wanted or (not wanted and (stage.rehearsed or not rehearse))]
