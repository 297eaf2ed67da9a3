"""Every block of the README and of docs/ runs, in its page's order; those that cannot are few and say why."""

import json
from pathlib import Path

import pytest

from interact.models import embedded
from interact.study.config import to_json
from tests.docs.pages import LANGUAGES, PAGES, ROOT, SKIP, languages, run_page
from tests.interact.conftest import byte_level, causal
from tests.sft.conftest import THIRD_PARTY, examples, one_thread
from tests.study.conftest import make_config

__all__ = ["byte_level", "one_thread"]

# Pages whose blocks load SmolLM2 and the embedded reviews.
REAL = ("README.md", "docs/tutorial.md")
REASONS = ("network", "GPU", "minutes", "another program", "changes the working tree")
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture
def known(byte_level):
    """What a page's hidden blocks may call: a tiny random model, and a study of it that takes a second."""

    def tiny_model(folder: str) -> None:
        causal().save_pretrained(folder)
        byte_level.save_pretrained(folder)

    def tiny_study(path: str = "study.json") -> None:
        tiny_model("tiny")
        lines = [json.dumps({"text": e.text, "response": e.response}) for e in examples(40)]
        Path("reviews.jsonl").write_text("\n".join(lines))
        short = {"models": ("tiny",), "data": ("reviews.jsonl",), "steps": (0, 2), "max_steps": 2, "samples": 2}
        Path(path).write_text(json.dumps(to_json(make_config(Path(), **short))))

    return {"tiny_model": tiny_model, "tiny_study": tiny_study}


def with_marks(name: str):
    return pytest.param(name, marks=pytest.mark.real if name in REAL else ())


@pytest.mark.parametrize("name", [with_marks(name) for name in NAMES])
@pytest.mark.filterwarnings(*THIRD_PARTY)
def test_the_blocks_of_a_page_run(name, known, tmp_path, monkeypatch):
    if name in REAL and (embedded.find("smollm2") is None or embedded.find("reviews") is None):
        pytest.skip("SmolLM2 and the reviews are not in the cache; run `interact fetch smollm2 reviews`")
    monkeypatch.chdir(tmp_path)
    skipped = run_page(ROOT / name, known)
    assert len(skipped) == len(SKIP.findall((ROOT / name).read_text("utf-8")))


@pytest.mark.parametrize("name", NAMES)
def test_every_block_names_a_language_that_is_checked(name):
    assert set(languages(ROOT / name)) <= set(LANGUAGES)


def test_few_blocks_are_skipped_and_each_says_why():
    skipped = [(name, reason) for name in NAMES for reason in SKIP.findall((ROOT / name).read_text("utf-8"))]
    assert len(skipped) <= 10, skipped
    assert all(any(word in reason for word in REASONS) for _, reason in skipped), skipped
    # A doctest that is skipped on its own line, or a skip of another form, would not be counted.
    assert not any(word in (ROOT / name).read_text("utf-8") for name in NAMES for word in ("+SKIP", "skip: start"))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```python\n1 / 0\n```", "division by zero"),
        ("```python\n>>> 1 + 1\n3\n\n```", "Expected"),
        ("```bash\ninteract extract --model absent/ --text film\n```", "exit code"),
        ("```bash\nno-such-command\n```", "no-such-command"),
        ('```json\n{"models": ["tiny"], "max_step": 3}\n```', "did you mean 'max_steps'"),
        ("```json\n{,}\n```", "Expecting property name"),
        ("```yaml\na: [\n```", "expected"),
        ('<!--- skip: next "needs a GPU" -->\n```python\ndef (\n```', "invalid syntax"),
        ('<!--- skip: next "needs a GPU" -->\n```bash\nfor (\n```', "bash"),
    ],
)
def test_a_block_that_is_wrong_fails(block, message, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "wrong.md"
    page.write_text(block + "\n")
    with pytest.raises(Exception, match=message):
        run_page(page, known)
