"""torchvision and demo networks open with random weights, with weights from files and with other heads."""

import os
import subprocess
import sys
import urllib.error

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from atlas_pipeline.errors import ModelError, WeightsError
from atlas_pipeline.models import open_network
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.sources.torchvision import _build
from atlas_pipeline.models.spec import ModelSpec

SMALL = {"crop": 64}


def random_spec(name: str, seed: int = 0) -> ModelSpec:
    return ModelSpec(source="torchvision", name=name, weights="random", preprocess=SMALL, seed=seed)


def test_random_networks_say_so_and_depend_on_the_seed_alone(resnet18, images):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = open_network(random_spec("resnet18"))
    assert torch.equal(before, torch.get_rng_state())
    other = open_network(random_spec("resnet18", seed=1))
    assert torch.equal(again.logits(images), resnet18.logits(images))
    assert not torch.allclose(other.logits(images), resnet18.logits(images))
    assert resnet18.random
    assert resnet18.weights_note == "RANDOM WEIGHTS (seed 0)"


def test_a_random_networks_activations_stay_alive(googlenet, images):
    deep = feature_maps(googlenet, images, ["inception5b"])["inception5b"]
    assert 0.1 < deep.std() < 10


def test_calibration_sets_batch_statistics_and_leaves_eval_mode(googlenet):
    norms = [m for m in googlenet.module.modules() if isinstance(m, _BatchNorm)]
    assert not any(m.training for m in googlenet.module.modules())
    assert all(norm.momentum == 0.1 for norm in norms)
    assert all(int(norm.num_batches_tracked) == 1 for norm in norms)


def test_calibration_images_can_be_given():
    given = open_network(random_spec("resnet18"), calibration=lambda: torch.full((4, 3, 64, 64), 0.5))
    assert float(given.module.bn1.running_var.max()) < 0.1


def test_networks_are_frozen(googlenet):
    assert not any(p.requires_grad for p in googlenet.module.parameters())


@pytest.mark.parametrize("aux", [True, False])
def test_googlenet_files_with_and_without_auxiliary_heads(tmp_path, googlenet, images, aux):
    state = dict(googlenet.module.state_dict())
    if aux:
        heads = {k: v for k, v in _full_googlenet_state().items() if k.startswith("aux")}
        assert heads
        state |= heads
    torch.save(state, tmp_path / "w.pth")
    spec = ModelSpec(
        source="torchvision", name="googlenet", weights=str(tmp_path / "w.pth"), preprocess=SMALL
    )
    opened = open_network(spec)
    assert torch.allclose(opened.logits(images), googlenet.logits(images), rtol=1e-5)
    assert not opened.random
    assert opened.weights_note.startswith("file with sha256 ")
    assert len(opened.labels) == 1000


def _full_googlenet_state():
    from torchvision.models import googlenet

    return googlenet(weights=None, init_weights=False, aux_logits=True).state_dict()


def test_transform_input_becomes_preprocess(googlenet, images):
    """torchvision's transform_input on top of ImageNet normalisation amounts to mean 0.5, std 0.5."""
    assert googlenet.preprocess.mean == googlenet.preprocess.std == (0.5, 0.5, 0.5)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    googlenet.module.transform_input = True
    try:
        as_torchvision = googlenet.module((images - mean) / std)
    finally:
        googlenet.module.transform_input = False
    assert torch.allclose(googlenet.logits(images), as_torchvision, rtol=1e-3, atol=1e-4)


def test_fine_tuned_weights_bring_their_own_number_of_classes(tmp_path):
    torch.save(_build("resnet18", num_classes=10).state_dict(), tmp_path / "w.pth")
    opened = open_network(
        ModelSpec(source="torchvision", name="resnet18", weights=str(tmp_path / "w.pth"), preprocess=SMALL)
    )
    assert opened.num_classes == 10
    assert opened.labels is None
    assert opened.class_names[3] == "class 3"


def test_weights_of_another_network_are_named_key_by_key(tmp_path):
    torch.save(_build("resnet34").state_dict(), tmp_path / "w.pth")
    spec = ModelSpec(source="torchvision", name="resnet18", weights=str(tmp_path / "w.pth"))
    with pytest.raises(
        ModelError, match=r"w.pth' for torchvision's resnet18.*\d+ unexpected: layer1.2.conv1.weight"
    ):
        open_network(spec)


def test_a_download_that_fails_names_the_way_out(monkeypatch, capsys):
    def offline(*_, progress, **__):
        print("Downloading: ...")
        raise urllib.error.URLError(OSError("no route to host"))

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    message = r"ResNet18_Weights.IMAGENET1K_V1 .*: no route to host; set .*a file .*'random'"
    with pytest.raises(WeightsError, match=message):
        open_network(ModelSpec(source="torchvision", name="resnet18"))
    # A command's stdout holds its results alone.
    assert capsys.readouterr() == ("", "Downloading: ...\n")


@pytest.mark.parametrize("network", ["torchvision:resnet18", "timm:resnet18"])
def test_a_torchvision_built_for_another_torch_is_one_line(tmp_path, network):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    command = [sys.executable, "-m", "atlas_pipeline", "layers", network]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 2
    _, line = ended.stderr.splitlines()
    assert line.startswith(
        f"error: {network.partition(':')[0]} cannot be imported (operator torchvision::nms"
    )
    assert "from one index" in line


def test_old_densenet_names(tmp_path):
    state = _build("densenet121").state_dict()
    old = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "w.pth")
    spec = ModelSpec(
        source="torchvision", name="densenet121", weights=str(tmp_path / "w.pth"), preprocess=SMALL
    )
    assert open_network(spec).num_classes == 1000


def test_preprocess_is_torchvisions_and_can_be_overridden(resnet18):
    assert resnet18.preprocess.resize == 256
    assert resnet18.preprocess.crop == 64
    assert resnet18.preprocess.mean == (0.485, 0.456, 0.406)


def test_uint8_and_float_images_are_the_same(resnet18):
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.allclose(resnet18.logits(images), resnet18.logits(images / 255), rtol=1e-5)


def test_the_demo_with_random_weights(monkeypatch):
    names = tuple(f"thing {i}" for i in range(24))
    monkeypatch.setattr("atlas_pipeline.models.sources.demo.demo_labels", lambda: names)
    demo = open_network(ModelSpec(source="demo", weights="random"))
    assert demo.labels == names
    assert demo.num_classes == 24
    assert demo.preprocess.crop == 64


def test_the_demo_itself():
    demo = open_network(ModelSpec(source="demo"))
    assert not demo.random
    assert demo.labels is not None
    assert len(demo.labels) == demo.num_classes


def test_models_import_with_torch_alone():
    program = """
import sys
import atlas_pipeline.models, atlas_pipeline.models.identity, atlas_pipeline.models.network_name
import atlas_pipeline.models.preprocess, atlas_pipeline.models.sources, atlas_pipeline.models.spec
assert "torch" not in sys.modules
from atlas_pipeline.models import attribution, cut, layers, open, receptive_field
from atlas_pipeline.models import map_form, user_network
others = {"torchvision", "timm", "safetensors", "pandas", "pyarrow", "pydantic"}
assert not others & set(sys.modules), others & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
