"""The demo network: its architecture, and the packaged weights behave as the docs say."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from atlas_pipeline.errors import ModelError
from atlas_pipeline.images.generated import CLASS_NAMES, VERSION, image
from atlas_pipeline.models.demo_network import (
    PREPROCESS,
    SmallInception,
    load_demo,
)
from atlas_pipeline.models.sources.demo import WEIGHTS_PATH

REPOSITORY = Path(__file__).parents[2]
UNSEEN_SEED = 77


def map_sizes(network: SmallInception, side: int) -> dict[str, tuple[int, int]]:
    sizes = {}

    def note(name):
        return lambda module, inputs, output: sizes.update({name: tuple(output.shape[1:])})

    hooks = [
        getattr(network, name).register_forward_hook(note(name)) for name in ("mixed3", "mixed4", "mixed5")
    ]
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return sizes


def test_demo_weights_classify_unseen_images():
    network = load_demo()
    drawn = [image(UNSEEN_SEED, index) for index in range(200)]
    pixels = torch.stack([torch.from_numpy(picture) for picture, _ in drawn]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(PREPROCESS[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        predicted = network((pixels - mean) / std).argmax(1)
    assert (predicted == torch.tensor([class_index for _, class_index in drawn])).float().mean() >= 0.95


def test_demo_weights_are_small_and_say_how_they_were_made():
    assert WEIGHTS_PATH.stat().st_size <= 3_000_000
    with safe_open(WEIGHTS_PATH, framework="pt") as weights:
        metadata = weights.metadata()
    # The weights were made before the script moved to scripts/training/demo.py.
    assert metadata["command"].startswith("python scripts/train_demo_model.py")
    assert metadata["generator_version"] == str(VERSION)
    assert float(metadata["test_accuracy"]) >= 0.97
    assert {"seed", "train_images", "test_images"} <= set(metadata)
    assert tuple(json.loads(metadata["labels"])) == CLASS_NAMES


def test_demo_network_is_in_eval_mode_with_float32_weights():
    network = load_demo()
    assert not network.training
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_missing_weights_say_how_to_make_them(tmp_path):
    with pytest.raises(ModelError, match=r"scripts\.training\.demo"):
        load_demo(tmp_path / "none.safetensors")


def test_map_sizes_at_64_px():
    assert map_sizes(load_demo(), 64) == {
        "mixed3": (64, 16, 16),
        "mixed4": (128, 8, 8),
        "mixed5": (192, 8, 8),
    }


def test_map_sizes_at_32_px_with_one_stem_pool():
    network = SmallInception(10, width=16, num_blocks=(1, 2, 1), num_stem_pools=1, pool_before_mixed5=True)
    assert map_sizes(network, 32) == {"mixed3": (32, 16, 16), "mixed4": (64, 8, 8), "mixed5": (96, 4, 4)}


def test_no_strided_convolution():
    strides = {m.stride for m in load_demo().modules() if isinstance(m, torch.nn.Conv2d)}
    assert strides == {(1, 1)}


def test_cifar10_script_builds_without_its_neighbours():
    spec = importlib.util.spec_from_file_location(
        "cifar10", REPOSITORY / "scripts" / "training" / "cifar10.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    network = script.build()
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, len(script.LABELS)) == (2, 10)
    assert set(script.PREPROCESS) == {"resize", "crop", "mean", "std"}
