"""The command line: help, errors in options, tracebacks on demand."""

import os

import pytest
from click.testing import CliRunner

from atlas_pipeline.cli.main import main
from atlas_pipeline.errors import ConfigError


def call(*arguments: str, width: int = 80):
    return CliRunner().invoke(main, list(arguments), terminal_width=width)


def test_every_line_of_the_help_is_whole_and_fits_80_columns():
    result = call("--help")
    assert result.exit_code == 0
    _, *lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert not [line for line in lines if line.rstrip().endswith(("...", "…"))]
    # Every command has a description.
    listed = [line for line in lines[lines.index("Commands:") + 1 :] if line.strip()]
    assert len(listed) == len(main.commands)
    assert all(len(line.split()) > 3 for line in listed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stich", "quickstart"), "error: no such command 'stich'; nearest: 'stitch'; see: atlas --help"),
        (("run", "--forse", "quickstart"), "nearest: '--force'; see: atlas run --help"),
        (("status",), "error: missing argument 'CONFIG'; see: atlas status --help"),
        (("run", "quickstart", "--workers", "-1"), "see: atlas run --help"),
        (("run", "no-such-config"), "error: config 'no-such-config' does not exist"),
        # Both commands used to ignore the option.
        (("layers", "quickstart", "--pipeline", "mine.py"), "no such option '--pipeline'"),
        (("view", "quickstart", "--pipeline", "mine.py"), "no such option '--pipeline'"),
    ],
)
def test_mistakes_are_one_line_in_one_voice(arguments, said):
    result = call(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_debug_shows_the_traceback_of_the_command_that_has_it():
    """This also holds when the program is not called through ``sys.argv``."""
    quiet = call("status", "no-such-config")
    assert isinstance(quiet.exception, SystemExit)
    loud = call("status", "no-such-config", "--debug")
    assert isinstance(loud.exception, ConfigError)


def test_without_arguments_the_help_is_shown():
    assert "Commands:" in call().output


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_torch_takes_large_tensors_in_huge_pages_unless_that_is_switched_off(monkeypatch, before, after):
    name = "THP_MEM_ALLOC_ENABLE"
    monkeypatch.setenv(name, before or "")
    if before is None:
        monkeypatch.delenv(name)
    assert call("--version").exit_code == 0
    assert os.environ[name] == after
