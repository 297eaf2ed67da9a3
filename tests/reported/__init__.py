"""Faults that users of neighbouring tools reported in public, as docs/reliability.md lists them."""
