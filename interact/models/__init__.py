"""The only place that touches Hugging Face internals: what kind a model is, and its masked forwards."""
