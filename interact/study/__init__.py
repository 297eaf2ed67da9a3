"""The SFT-evolution study: what is followed, the work list, the store, and the run that fills it."""

from interact.formats.extras import require

require("study", "A study")
