"""Supervised fine-tuning: data, training, checkpoints, and following interactions while a model is trained."""

from interact.formats.extras import require

require("study", "Fine-tuning")
