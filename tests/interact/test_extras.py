"""What the base brings without any extra, and what is said where an extra is missing."""

import subprocess
import sys
import textwrap

import pytest

from interact.formats.extras import EXTRAS

# A module that is None in sys.modules is not installed, as far as imports can tell.
ABSENT = sorted({module for modules in EXTRAS.values() for module in modules} - {"jinja2"})
BARE = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))"


def bare(code, *arguments):
    line = [sys.executable, "-c", f"{BARE}\n{textwrap.dedent(code)}", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300)


def command(*arguments):
    return bare("import sys; from interact.command.main import main; main(sys.argv[1:])", *arguments)


def test_extraction_needs_the_base_alone(tmp_path, model_folder):
    done = command(
        *("extract", "--model", model_folder, "--text", "a gorgeous witty movie", "--target", "7"),
        *("--target-tokens", "1", "--out", str(tmp_path / "one.interactions")),
    )
    assert done.returncode == 0, done.stderr
    assert "rebuild" in done.stdout
    shown = command("show", str(tmp_path / "one.interactions"), "--json")
    assert shown.returncode == 0 and shown.stdout.startswith("{"), shown.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import interact.study", "A study needs accelerate and jinja2 and pandas"),
        ("import interact; interact.InteractionCallback", "Fine-tuning needs"),
        ("import interact.evolution", "The evolution of interactions needs"),
    ],
)
def test_rooms_of_the_study_name_the_extra(code, said):
    done = bare(code)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert said.split(" needs")[0] in last and 'run: pip install "interact-llm[study]".' in last


@pytest.mark.parametrize("arguments", [("study", "run", "--store", "x"), ("demo",)])
def test_commands_of_the_study_end_in_one_sentence(arguments):
    done = command(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("interact: ") and done.stderr.count("\n") == 1
    assert 'run: pip install "interact-llm[study]".' in done.stderr


def test_help_and_doctor_work_on_the_base():
    assert "study" in command("--help").stdout
    done = command("doctor")
    assert done.returncode == 0, done.stderr
    assert "extra study" in done.stdout and 'pip install "interact-llm[study]"' in done.stdout


def test_modules_that_moved_are_found_by_their_old_names():
    code = """
        import importlib, warnings
        for old in "coalitions embedded inputs masking players report cli extraction".split():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                module = importlib.import_module(f"interact.{old}")
            said = [str(w.message) for w in caught if w.category is DeprecationWarning]
            said = [line for line in said if "import that" in line and line.startswith(f"interact.{old} is interact.")]
            assert len(said) == 1 and module.__doc__.strip(), (old, said)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
