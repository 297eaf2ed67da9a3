"""The gate: an entry that is not correct has no speed."""

from __future__ import annotations

from collections.abc import Callable

from bench.registry import Check, Entry


def red_checks(entry: Entry, quick: bool, say: Callable[[str], None]) -> list[Check]:
    """Run the gate of `entry`, say what it found, return the checks that failed (NaN fails)."""
    checks = list(entry.gate(quick))
    red = [c for c in checks if not c.error <= c.budget]
    for check in red:
        say(f"  RED {check.name}: error {check.error:.3g} above the budget {check.budget:.3g}")
    if not checks:
        red.append(Check("the gate has no checks", float("nan"), 0.0))
        say("  RED the gate has no checks")
    else:
        worst = max(checks, key=lambda c: c.error / c.budget if c.budget else c.error)
        say(
            f"  gate: {len(checks) - len(red)} of {len(checks)} checks green; nearest its budget: "
            f"{worst.name} ({worst.error:.2g} of {worst.budget:.2g})"
        )
    return red
