"""What an absent player becomes (docs/math.md, Masking).

- ``baseline``: positions and attention stay; the embedding of each absent token becomes one baseline vector.
- ``attention``: absent tokens are invisible as keys to every other token; positions do not change.
- ``text``: absent players are replaced by a placeholder word, which may change the number of tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interact.models.family import device_of

if TYPE_CHECKING:
    from interact.prompt.inputs import CoalitionInputs

MASKINGS = ("baseline", "attention", "text")
_CHAIN = ("unk", "pad", "eos")


@dataclass(frozen=True)
class Baseline:
    """The vector that stands for an absent token, and its name for the record.

    Attributes:
        name: ``"unk"``, ``"pad"``, ``"eos"``, ``"mean"``, ``"token:ID"`` or ``"vector"``.
        vector: The embedding, shape [hidden], in the model's dtype and device.
    """

    name: str
    vector: torch.Tensor

    def identity(self) -> str:
        """Name the baseline for the record; a vector is named by a hash, since different ones say different things."""
        if self.name not in ("vector", "learned"):
            return self.name
        content = self.vector.detach().float().cpu().numpy().tobytes()
        return f"{self.name} sha256:{hashlib.sha256(content).hexdigest()[:16]}"


def check_masking(masking: str) -> None:
    """Raise ValueError unless `masking` names a masking."""
    if masking not in MASKINGS:
        raise ValueError(f"masking={masking!r} is not known; choose one of {list(MASKINGS)}.")


def _of_numpy(given: np.ndarray) -> Any:
    """Return a number or a vector of NumPy as Python and torch have it; others as they are."""
    if given.dtype.kind in "iu" and not given.ndim:
        return int(given)
    return torch.from_numpy(np.ascontiguousarray(given)) if given.dtype.kind in "fiu" and given.ndim else given


@torch.no_grad()
def resolve_baseline(
    model: Any, baseline: str | int | torch.Tensor | Baseline | None, special_ids: Mapping[str, int]
) -> Baseline:
    """Find the baseline vector of a model.

    Args:
        model: A Hugging Face model.
        baseline: None for the first of <unk>, pad and eos that exists; one of these names; ``"mean"`` of all
            token embeddings; a token id or ``"token:ID"``; a vector of shape [hidden] (for instance a learned one).
        special_ids: Ids of the tokenizer's special tokens; pad and eos are also looked up in the model's config.

    Raises:
        ValueError: There is no such token, the id is outside the vocabulary, or the vector has the wrong shape.
    """
    if isinstance(baseline, Baseline):
        return baseline
    embedding = model.get_input_embeddings()
    weight, device = embedding.weight, device_of(model)
    if isinstance(baseline, (np.integer, np.ndarray)):
        baseline = _of_numpy(np.asarray(baseline))
    if baseline is not None and (isinstance(baseline, bool) or not isinstance(baseline, (str, int, torch.Tensor))):
        raise ValueError(f"The baseline must be a name, a token id or a torch vector, but is {baseline!r:.60}.")
    if isinstance(baseline, torch.Tensor):
        if baseline.shape != weight.shape[1:]:
            raise ValueError(
                f"The baseline vector has the shape {tuple(baseline.shape)}, but the embeddings of this model have "
                f"{tuple(weight.shape[1:])}; give a vector of that shape."
            )
        return Baseline("vector", baseline.to(device, weight.dtype))
    if baseline == "mean":
        # Through the module, not the table: some families scale what they look up.
        chunks = torch.arange(weight.shape[0], device=device).split(8192)
        total = torch.stack([embedding(chunk).double().sum(0) for chunk in chunks]).sum(0)
        return Baseline("mean", (total / weight.shape[0]).to(weight.dtype))
    name, token = _token(model, baseline, special_ids)
    if not 0 <= token < weight.shape[0]:
        raise ValueError(f"The baseline token {token} is not in the vocabulary of {weight.shape[0]} tokens.")
    return Baseline(name, embedding(torch.tensor([token], device=device))[0].clone())


@torch.no_grad()
def silent_players(model: Any, inputs: CoalitionInputs, masking: str, baseline: Baseline | None) -> str | None:
    """Say which players have no other tokens than those of an absent one, so that nothing can come of them.

    Args:
        model: The model.
        inputs: The prompt.
        masking: Its masking.
        baseline: What absent tokens become under baseline masking.

    Returns:
        A sentence, or None where there is none.
    """
    if masking == "text":
        same = [inputs.input_ids[low:high] == inputs.placeholder_ids for low, high in inputs.spans]
        stands, cure = "the placeholder", "masking='baseline'"
    elif baseline is not None and baseline.name != "learned" and inputs.spans:
        ids = torch.tensor(list(inputs.input_ids), device=device_of(model))
        embedded = model.get_input_embeddings()(ids)
        equal = (embedded == baseline.vector.to(embedded)).all(-1).tolist()
        same = [all(equal[low:high]) for low, high in inputs.spans]
        stands, cure = f"the baseline {baseline.name!r}", "another baseline, such as 'pad', 'mean' or 'token:ID'"
    else:
        return None
    names = [inputs.players[i].text if inputs.players else str(i) for i, here in enumerate(same) if here]
    if not names:
        return None
    listed, verb, kind = (
        ", ".join(map(repr, names)),
        ("is" if len(names) == 1 else "are"),
        "its" if len(names) == 1 else "their",
    )
    return (
        f"In tokens {listed} {verb} what stands for an absent player ({stands}), often because the tokenizer does not "
        f"know the word, so {kind} effect is 0 whatever the model thinks; choose {cure}."
    )


def _token(model: Any, baseline: str | int | None, special_ids: Mapping[str, int]) -> tuple[str, int]:
    if isinstance(baseline, int):
        return f"token:{baseline}", baseline
    if baseline is not None and baseline.startswith("token:") and baseline[6:].isdigit():
        return baseline, int(baseline[6:])
    known = dict(special_ids)
    for name in ("pad", "eos"):
        token = getattr(model.config, f"{name}_token_id", None)
        if name not in known and token is not None:
            known[name] = int(token[0] if isinstance(token, list) else token)
    if baseline is None:
        for name in _CHAIN:
            if name in known:
                return name, known[name]
        raise ValueError(
            "This model has no unk, pad or eos token to stand for absent words; pass baseline='mean', "
            "baseline='token:ID' or a vector."
        )
    if baseline not in _CHAIN:
        raise ValueError(
            f"baseline={baseline!r} is not known; choose 'unk', 'pad', 'eos', 'mean', 'token:ID' or a vector."
        )
    if baseline not in known:
        raise ValueError(
            f"This model has no {baseline} token (it has {sorted(known) or 'none'}); choose another baseline."
        )
    return baseline, known[baseline]
