"""Every command prints its first line before torch is imported."""

import os
import re
import subprocess
import sys

import pytest
import yaml

# Run a command in a pretended terminal or log; end at the import of torch, and print the lines so far.
PROGRAM = """
import io, os, sys

class Stream(io.StringIO):
    def isatty(self):
        return sys.argv[1] == "terminal"

class TorchEndsIt:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            end("torch is imported")

def end(how):
    lines = (sys.stdout.getvalue() + sys.stderr.getvalue()).splitlines()
    print(how, *lines[:1], sep=": ", file=out, flush=True)
    os._exit(0)

out = sys.stdout
sys.meta_path.insert(0, TorchEndsIt())
sys.stdout, sys.stderr = Stream(), Stream()
from atlas_pipeline.cli.main import main
try:
    main(sys.argv[2:])
finally:
    end("done")
"""
CONFIG = {
    "name": "small",
    "model": {"source": "demo"},
    "images": {"source": "generated", "num_images": 4},
    "layers": ["mixed5"],
}


@pytest.fixture
def ended(tmp_path):
    """`ended(*arguments)`: how a command ended, and the first line that it had printed by then."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(CONFIG))

    def call(*arguments, on="terminal"):
        program = [sys.executable, "-c", PROGRAM, on, *arguments]
        return subprocess.run(program, capture_output=True, text=True, cwd=tmp_path).stdout.strip()

    return call


@pytest.mark.parametrize("on", ["terminal", "log"])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("layers", "torchvision:resnet18"), "opening the network of torchvision:resnet18 ..."),
        (
            ("init", "--network", "torchvision:resnet18", "--images", "generated"),
            "a config for torchvision:resnet18 on generated ...",
        ),
    ],
)
def test_commands_that_begin_with_a_network_say_so_before_torch(ended, on, arguments, line):
    assert ended(*arguments, on=on) == f"torch is imported: {line}"


@pytest.mark.parametrize("command", ["run", "check", "sample"])
def test_a_terminal_shows_a_line_before_torch(ended, command):
    assert ended(command, "small.yaml") == "torch is imported: loading torch ..."


def test_logs_and_quiet_commands_have_no_line_about_torch(ended):
    assert ended("run", "small.yaml", on="log") == "torch is imported"
    assert ended("run", "small.yaml", "--quiet") == "torch is imported"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("status", "small.yaml"), "why it would"),
        (("clean", "small.yaml"), "nothing to remove"),
        (("view", "small.yaml"), "error: run 'small' has no atlas yet"),
        (("figure", "small.yaml", "--layer", "mixed5"), "error: "),
    ],
)
def test_commands_that_need_no_torch_do_not_load_it(ended, arguments, line):
    plain = re.sub(r"\x1b\[[0-9;]*m", "", ended(*arguments))
    assert re.match(f"done: +{re.escape(line)}", plain)


def test_no_library_greets_with_a_warning(tmp_path):
    """A new version of a library may warn of what another library does, which no user can mend."""
    # One process for all: Python shows a warning once, and each library is imported for its own network.
    program = (
        "from atlas_pipeline.cli.main import main; import sys\n"
        "for network in sys.argv[1:]:\n"
        "    try: main(['layers', network])\n"
        "    except SystemExit as end: assert not end.code"
    )
    networks = ("demo", "timm:test_resnet", "torchvision:squeezenet1_1")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    command = [sys.executable, "-c", program, *networks]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr, ended.stderr
