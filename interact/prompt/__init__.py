"""The prompt: its players, its tokens with the answer to explain, and what the absence of a player means."""
