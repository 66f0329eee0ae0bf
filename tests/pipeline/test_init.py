"""`atlas init` writes a config that runs as it is; `atlas layers` needs no config."""

import re
import sys
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from atlas_pipeline.cli import init_command
from atlas_pipeline.cli.main import main
from atlas_pipeline.config.loading import load_config, named_network
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models import layer_samples
from atlas_pipeline.runs.init_facts import positions_per_image
from atlas_pipeline.runs.init_text import plan_for

NETWORK = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, num_in, num_out):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(num_in, num_out, 3, stride=2, padding=1), nn.ReLU()
    def forward(self, x):
        return self.relu(self.conv(x))

def build():
    torch.manual_seed(0)
    body = nn.Sequential(Block(3, 6), Block(6, 8), Block(8, 8))
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

PREPROCESS = dict(resize=32, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
LABELS = ["ant", "bee", "cat", "dog", "emu"]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a network in a file and 40 photos of two classes; the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "my photos" / ("a", "b")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path


def call(*arguments, **options):
    return CliRunner().invoke(main, list(arguments), **options)


OWN = ("init", "--network", "python:net.py:build", "--images", "my photos")


def test_the_config_runs_as_it_is(place):
    made = call(*OWN)
    assert made.exit_code == 0, made.stderr
    assert made.stdout == "my-photos.yaml\n"
    assert "next: atlas check my-photos.yaml" in made.stderr
    assert "atlas run my-photos.yaml" in made.stderr
    config = load_config("my-photos.yaml")
    assert config.name == "my-photos"
    assert config.images.path == "my photos"
    # The last block's output is also that of all blocks together.
    assert config.layers == ("0.0", "0.1", "0")
    assert config.sample.attribution == "all"
    assert config.grid.min_count == 4
    text = Path("my-photos.yaml").read_text()
    assert "40 images, 2 classes" in text
    assert "8 channels, 4 x 4 positions" in text
    quick = ("--set", "invert.steps=2", "--set", "project.num_epochs=5", "--set", "layers=['0.1']")
    done = call("run", "my-photos.yaml", "--quiet", "--workers", "0", "--device", "cpu", *quick)
    assert done.exit_code == 0, done.stderr
    assert Path("data/runs/my-photos/index.html").is_file()


def test_the_options_decide(place):
    made = call(*OWN, "--layer", "0.1", "--name", "mine", "-o", "run.yaml", "--weights", "random")
    assert made.exit_code == 0, made.stderr
    config = load_config("run.yaml")
    assert (config.name, config.layers, config.model.weights) == ("mine", ("0.1",), "random")
    assert "RANDOM WEIGHTS" in Path("run.yaml").read_text()
    assert call(*OWN, "--layer", "0.1", "--name", "mine", "-o", "run.yaml", "--force").exit_code == 0
    assert load_config("run.yaml").model.weights is None


def test_the_run_is_named_after_its_file(place):
    """Two configs for one folder of images are two runs."""
    assert call(*OWN, "-o", "second try.yaml", "--layer", "0.1").exit_code == 0
    assert load_config("second try.yaml").name == "second-try"


def test_what_a_run_will_take_is_said(place):
    made = call(*OWN, "--layer", "0", "--layer", "0.1")
    lines = made.stderr.splitlines()
    cost = lines[lines.index("2 layers: 0.1, 0") + 1]
    assert re.fullmatch(r"on this CPU about .+ for samples and icons", cost)
    assert cost in Path("my-photos.yaml").read_text()


def test_samples_are_timed_at_the_positions_of_the_run(place, monkeypatch):
    timed = []

    def watched(network, images, requests):
        timed.append({request.positions.shape[1] for request in requests})
        return layer_samples.layer_samples(network, images, requests)

    stand_in = SimpleNamespace(**vars(layer_samples) | {"layer_samples": watched})
    monkeypatch.setitem(sys.modules, "atlas_pipeline.models.layer_samples", stand_in)
    assert call(*OWN, "--layer", "0.0").exit_code == 0
    assert load_config("my-photos.yaml").sample.positions_per_image == 4
    assert timed == [{4}] * 4


@pytest.mark.parametrize(
    "options", [("--network", "torchvision:resnet18"), ("--network", "inception_v1")], ids=lambda o: o[1]
)
def test_weights_that_cannot_be_had_name_the_options(place, refused, monkeypatch, options):
    def offline(*_, **__):
        raise urllib.error.URLError(OSError("no route to host"))

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    refused(call("init", "--images", "my photos", *options), "--weights", "--weights random")
    assert not Path("my-photos.yaml").exists()


def test_generated_images_and_a_network_without_a_name(place):
    made = call("init", "--network", "demo", "--images", "generated")
    assert made.exit_code == 0, made.stderr
    values = yaml.safe_load(Path("demo.yaml").read_text())
    assert values["model"] == {"source": "demo"}
    assert values["images"] == {"source": "generated"}
    assert values["layers"][-1] == "mixed5"


def test_in_a_terminal_what_is_missing_is_asked(place, monkeypatch):
    monkeypatch.setattr(init_command, "_is_terminal", lambda: True)
    made = call("init", input="python:net.py:build\n\nmy photos\n")
    assert made.exit_code == 0, made.stderr
    assert load_config("my-photos.yaml").model.weights is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("init",), ("--network is missing", "SOURCE:NAME")),
        (("init", "--network", "demo"), ("--images is missing", "a folder")),
        (
            ("init", "--network", "net.py", "--images", "my photos"),
            ("'net.py' is not of the form SOURCE:NAME",),
        ),
        (
            ("init", "--network", "torchvison:resnet18", "--images", "my photos"),
            ("source 'torchvison'", "nearest: 'torchvision'"),
        ),
        (("init", "--network", "torchvision", "--images", "my photos"), ("needs a name",)),
        (("init", "--network", "demo", "--images", "no photos"), ("'no photos' does not exist",)),
        (("init", "--network", "demo", "--images", "empty"), ("no images below",)),
        ((*OWN, "--layer", "0.7"), ("layer '0.7'", "nearest: '0.")),
        ((*OWN, "--name", "a/b"), ("must be a plain folder name",)),
        ((*OWN, "-o", "net.py"), ("'net.py' exists", "--force")),
        (("layers", "torchvison:resnet18"), ("source 'torchvison'", "nearest: 'torchvision'")),
        (("layers", "torchvision:resnet19"), ("'resnet19'", "nearest: 'resnet1")),
        (("layers", "nowhere.yaml"), ("config 'nowhere.yaml' does not exist",)),
    ],
)
def test_bad_input_is_one_line(place, refused, arguments, words):
    (place / "empty").mkdir()
    before = sorted(path.name for path in place.iterdir())
    refused(call(*arguments), *words)
    assert sorted(path.name for path in place.iterdir()) == before


def test_layers_of_a_network_without_a_config(place):
    listed = call("layers", "python:net.py:build")
    assert listed.exit_code == 0, listed.stderr
    assert listed.stderr.splitlines()[0] == "opening the network of python:net.py:build ..."
    rows = [
        line.split()[:2] for line in listed.stdout.splitlines() if "Block" in line or "Sequential" in line
    ]
    assert rows == [["*", "0.0"], ["*", "0.1"], ["*", "0"]]
    assert listed.stdout.splitlines()[-1] == "layers: ['0.0', '0.1', '0']"
    assert "0.0.conv" not in listed.stdout
    assert "0.0.conv" in call("layers", "python:net.py:build", "--all").stdout


def test_layers_of_a_config_that_has_none_yet(place):
    Path("begun.yaml").write_text("model: {source: python, name: 'net.py:build'}\nnmae: x\n")
    assert "* 0.1" in call("layers", "begun.yaml").stdout
    bad = call("layers", "begun.yaml", "--set", "model.source=pyton")
    assert bad.exit_code == 2
    assert "model.source is 'pyton'" in bad.stderr


def test_networks_are_told_from_paths(place):
    assert named_network("demo") == {"source": "demo"}
    assert named_network("python:a/b.py:build") == {"source": "python", "name": "a/b.py:build"}
    for path in ("quickstart", "a/b.yaml", "C:\\a.yaml", "s3://bucket/a.yaml", "net.py"):
        assert named_network(path) is None
    Path("demo").write_text("")
    assert named_network("demo") is None
    with pytest.raises(ConfigError, match="source 'tim' is not in"):
        named_network("tim:resnet18")


@pytest.mark.parametrize(
    ("num_images", "side", "has_gpu", "positions", "sizes", "min_count"),
    [
        (30, 7, False, 4, (5,), 4),
        (300, 7, False, 4, (10,), 10),
        (300, 3, False, 1, (8,), 4),
        (20_000, 7, False, 1, (20,), 10),
        (20_000, 7, True, 1, (20, 40), 10),
        (1_000_000, 14, True, 1, (20, 40, 80, 160), 10),
        (1, 1, False, 1, (1,), 4),
    ],
)
def test_grids_fit_the_number_of_images(num_images, side, has_gpu, positions, sizes, min_count):
    plan = plan_for(num_images, positions_per_image(num_images, (side, side)), has_gpu=has_gpu)
    assert (plan.positions, plan.sizes, plan.min_count) == (positions, sizes, min_count)
    assert plan.num_activations == num_images * positions
