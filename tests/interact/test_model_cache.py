"""A model's cache under each of the names that transformers has given it, and deprecations that it only logs."""

import inspect
import logging

import pytest
import torch
from transformers.utils import ModelOutput

from interact import coalition_values
from interact.engines.cache import cache_argument, cache_of
from tests.interact.conftest import causal
from tests.interact.test_tree import INPUTS

NAMES = ["cache", "past_key_values", "cache_params", "layer_past"]


class Output(dict):
    """An output with the fields given, as a model's own class may be."""

    def __init__(self, **fields):
        super().__init__(fields)
        vars(self).update(fields)


def renamed(name):
    """Return a model whose forward takes and gives back its cache under `name` alone."""
    model = causal()
    plain = model.forward
    own = cache_argument(inspect.signature(plain).parameters.keys())

    def forward(inputs_embeds=None, input_ids=None, use_cache=None, return_dict=True, position_ids=None, **more):
        taken = {own: more.pop(name)} if name in more else {}
        assert not more, more
        output = plain(
            input_ids=input_ids, inputs_embeds=inputs_embeds, use_cache=use_cache, position_ids=position_ids, **taken
        )
        return Output(logits=output.logits, **{name: cache_of(output)})

    shown = inspect.signature(forward)
    rest = [p for p in shown.parameters.values() if p.kind is not p.VAR_KEYWORD]
    forward.__signature__ = shown.replace(
        parameters=[*rest, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)]
    )
    model.forward = forward
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_of_any_name_is_gone_on_from(name):
    flat = coalition_values(causal(), INPUTS, engine="flat")
    values = coalition_values(renamed(name), INPUTS, engine="reorder")
    torch.testing.assert_close(values, flat, rtol=1e-4, atol=1e-4)


def test_an_output_without_a_cache_has_none_and_is_not_asked_by_an_old_name():
    # An output of transformers may keep an old name as a property that warns.
    assert cache_of(ModelOutput(logits=torch.zeros(1))) is None
    assert cache_of(Output(cache=None)) is None
    assert cache_argument({"input_ids", "inputs_embeds"}) is None


def test_a_deprecation_that_transformers_logs_is_an_error_here():
    with pytest.raises(FutureWarning, match="is deprecated"):
        logging.getLogger("transformers.models").warning("`torch_dtype` is deprecated! Use `dtype` instead!")
