"""The SFT-evolution study: what is followed, the work list, the store, and the run that fills it."""
