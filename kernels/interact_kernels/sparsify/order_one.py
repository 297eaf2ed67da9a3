"""One convention for interactions of a single player, where AND and OR are the same function of the mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from interact_kernels.sparsify.result import AndOrSplit


def merge_order_one(split: AndOrSplit) -> AndOrSplit:
    """Move the OR effects of single players into their AND effects.

    For T = {i}, [T subset S] = [T meets S], so how an effect is shared between the two is arbitrary; merged,
    two splits can be compared set by set. The strength never grows: |x + y| <= |x| + |y|.

    Args:
        split: Result of `and_or_split`, any batch shape.

    Returns:
        A new split with ``i_or[..., 1 << i] = 0``; its primal and gap are recomputed, dual and certificate hold.
        A soft split is such already.

    Source: docs/split.md, "Why the form matters".

    >>> from interact_kernels.sparsify import and_or_split
    >>> merged = merge_order_one(and_or_split(np.array([0.0, 1.0]), kappa=0.0, rtol=1e-9))
    >>> float(merged.i_or[1]), round(float(merged.i_and[1]), 6)
    (0.0, 1.0)
    """
    if split.form.soft:
        return split
    tensors = isinstance(split.i_and, torch.Tensor)
    i_and, i_or = (part.clone() if tensors else np.array(part) for part in (split.i_and, split.i_or))
    single = [1 << player for player in range(i_and.shape[-1].bit_length() - 1)]
    i_and[..., single] += i_or[..., single]
    i_or[..., single] = 0.0
    primal = abs(i_and).sum(-1) + abs(i_or).sum(-1)
    dual = split.dual
    if tensors:
        gap = torch.where(primal > 0, (primal - dual) / primal.clamp_min(1e-300), 0.0)
    else:
        gap = np.where(primal > 0, (primal - dual) / np.maximum(primal, 1e-300), 0.0)
    return replace(split, i_and=i_and, i_or=i_or, primal=primal, gap=gap)
