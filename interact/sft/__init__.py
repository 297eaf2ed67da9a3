"""Supervised fine-tuning: data, training, checkpoints, and following interactions while a model is trained."""
