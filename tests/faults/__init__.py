"""Faults: kills, damaged files, full disks, lost rights. `python -m tests.faults` repeats docs/reliability.md."""
