"""AND-OR interactions of language models."""
