"""AND-OR interactions of language models: a prompt in, its interactions out.

>>> import interact
>>> result = interact.extract(model, tokenizer, "a gorgeous, witty movie", target="positive")  # doctest: +SKIP
"""

from interact.coalitions import coalition_values
from interact.extract import extract
from interact.inputs import CoalitionInputs, Template, prepare
from interact.interactions import Fidelity, Interaction, Interactions
from interact.learned import learn_baseline
from interact.players import Player, PlayerChoice

load = Interactions.load

__all__ = [
    "CoalitionInputs",
    "Fidelity",
    "Interaction",
    "Interactions",
    "Player",
    "PlayerChoice",
    "Template",
    "coalition_values",
    "extract",
    "learn_baseline",
    "load",
    "prepare",
]
