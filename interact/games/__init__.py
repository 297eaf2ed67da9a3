"""Games: players, and a score for every coalition of them; prompts of models and plain functions."""
