"""docs/models.md is what its script writes, and still true for a handful of families."""

import pytest
import transformers

from interact import coalition_values
from interact.engines import names
from interact.models.family import inspect_model
from tests.interact.conftest import causal
from tests.interact.families import page
from tests.interact.test_tree import INPUTS

TEXT = page.PAGE.read_text()


def rows_of(text):
    """Read the table back."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    columns = [" ".join(column) for column in page.COLUMNS]
    found = {}
    for line in lines[1:]:
        family, kind, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[family] = {"class": kind} | {c: cell for c, cell in zip(columns, cells, strict=True) if cell}
    return found


def test_the_page_is_what_its_script_writes():
    written = TEXT.splitlines()[2]
    assert page.page(rows_of(TEXT)).replace(page.versions(), written) == TEXT
    assert written.startswith("Made by `python docs/models.py` with transformers ")
    if transformers.__version__ in written:
        assert set(rows_of(TEXT)) == set(page.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    # Packing serves encoders that classify, which are no causal language models.
    assert {engine for _, engine in page.COLUMNS} == set(names()) - {"auto", "packed"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "family", ["llama", "gemma3_text", "bloom", "jamba", "lfm2", "openai-gpt", "rwkv", "xlm-roberta"]
)
def test_a_family_still_does_what_the_page_says(family):
    if transformers.__version__ not in TEXT.splitlines()[2]:
        pytest.skip(f"the page was made with another version than transformers {transformers.__version__}")
    assert page.examine(family) == rows_of(TEXT)[family]


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_ignores_the_mask_has_its_reason_in_the_table():
    """The reason is read off the error's words, whatever the version of transformers."""
    assert page.examine("rwkv")["attention flat"] == "mask ignored"


def test_a_model_that_takes_no_embeddings_is_refused_in_a_sentence():
    model = causal()
    plain = model.forward
    model.forward = lambda input_ids, return_dict=True, **rest: plain(input_ids=input_ids, **rest)
    with pytest.raises(ValueError, match=r"not with its embeddings passed in .* use masking='text'"):
        coalition_values(model, INPUTS)


def test_a_context_of_minus_one_is_no_limit():
    """XLNet writes it so."""
    model = causal()
    model.config.max_position_embeddings = -1
    assert inspect_model(model).context is None
    assert coalition_values(model, INPUTS).shape == (16,)
