"""TensorFloat-32, a GPU's default in convolutions, changes no stored number and turns no fast path off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from pretended_cuda import Log, pretended_cuda
from torch import Tensor

from atlas_pipeline.inversion import Channel, Icons, InversionSettings, centre_activation, invert, score
from atlas_pipeline.inversion.canvas import to_network_input
from atlas_pipeline.inversion.icon_numbers import noise_activation
from atlas_pipeline.inversion.visible_window import visible_window
from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.models import ModelSpec, Network, feature_maps, open_network
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.layer_samples import AttributionRequest, LayerRequest, layer_samples
from atlas_pipeline.models.shared_pass import SharedPass
from atlas_pipeline.models.shared_trial import shared_pass

LAYERS = ["mixed3", "mixed4", "mixed5"]
SIDE = 64


def demo(device: str) -> Network:
    return open_network(ModelSpec(source="demo")).to(device)


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def rounding_gpu() -> Iterator[Log]:
    """A GPU whose convolutions round as cuDNN's do."""
    with pretended_cuda(tf32=True) as log:
        yield log


@pytest.mark.usefixtures("rounding_gpu")
@pytest.mark.parametrize("layer", LAYERS)
def test_cut_gives_a_traced_network(layer):
    assert cut(demo("cuda"), layer).is_traced


@pytest.mark.usefixtures("rounding_gpu")
@pytest.mark.parametrize("layer", LAYERS)
def test_attributions_start_at_the_layer(layer):
    network = demo("cuda")
    assert attribution_mode(network, None, layer, "smooth").through_suffix
    assert isinstance(shared_pass(network, layer, "smooth"), SharedPass)


@pytest.mark.usefixtures("rounding_gpu")
@pytest.mark.parametrize("layer", LAYERS)
def test_visible_window_is_that_of_the_cpu(layer):
    here, there = (
        visible_window(cut(demo(device), layer), SIDE, torch.device(device)) for device in ("cpu", "cuda")
    )
    assert here == there
    assert there.high - there.low < SIDE or layer == "mixed5"


class KernelsByShape(torch.nn.Module):
    """Rounds as cuDNN may under TensorFloat-32: smaller images get another kernel and its rounding."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        found = self.inner(images)
        is_other = images.shape[-1] < SIDE and torch.backends.cudnn.conv.fp32_precision != "ieee"
        return found * (1 + 2.0**-11) if is_other else found


@pytest.mark.usefixtures("rounding_gpu")
def test_visible_window_does_not_depend_on_how_kernels_round():
    inner = cut(demo("cuda"), "mixed3")
    exact = visible_window(torch.nn.Sequential(inner), SIDE, torch.device("cuda"))
    assert visible_window(KernelsByShape(inner), SIDE, torch.device("cuda")) == exact
    assert exact.high - exact.low < SIDE


def sampled(device: str) -> dict[str, Tensor]:
    """Maps of all layers, and their samples with attributions."""
    network, images = demo(device), random(2, 3, SIDE, SIDE).to(device)
    with torch.no_grad():
        found = feature_maps(network, images, LAYERS)
    how = AttributionRequest(method="gradient", maxpool_gradient="smooth")
    positions = np.ones((2, 1, 2), np.int64)
    requests = [LayerRequest(layer=layer, positions=positions, attribution=how) for layer in LAYERS]
    for layer, sample in zip(LAYERS, layer_samples(network, images, requests), strict=True):
        found[f"sample of {layer}"], found[f"attribution of {layer}"] = (
            sample.activations,
            sample.attributions,
        )
    return {name: values.cpu() for name, values in found.items()}


def numbers(device: str) -> dict[str, Tensor]:
    """Numbers of finished icons."""
    layer = cut(demo(device), "mixed3")
    images = (random(3, SIDE, SIDE, 3) * 255).to(torch.uint8)
    return {
        "score": score(Channel(layer, range(3)), images, device),
        "noise": torch.from_numpy(noise_activation(layer, SIDE, 0, device)),
    }


def near(device: str) -> dict[str, Tensor]:
    """Exact neighbours of vectors that TensorFloat-32 cannot tell apart."""
    vectors = (1 + 0.02 * random(100, 16)).numpy()
    found = neighbors([vectors], len(vectors), 5, device=device)
    return {"indices": torch.from_numpy(found.indices), "distances": torch.from_numpy(found.distances)}


def _set(holder: object, value: str) -> None:
    holder.fp32_precision = value  # type: ignore[attr-defined]


def _set_former_switches() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


SWITCHES: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "all ieee": lambda: _set(torch.backends, "ieee"),
    "all tf32": lambda: _set(torch.backends, "tf32"),
    "convolutions ieee": lambda: _set(torch.backends.cudnn.conv, "ieee"),
    "products tf32": lambda: _set(torch.backends.cuda.matmul, "tf32"),
    "the former switches": _set_former_switches,
    "high": lambda: torch.set_float32_matmul_precision("high"),
}


@pytest.fixture
def switches() -> Iterator[None]:
    """Torch's switches are as at the start of a process before the test and after it."""
    backends = torch.backends
    groups = [backends, backends.cudnn, backends.mkldnn, backends.cuda.matmul]
    groups += [backends.mkldnn.matmul, backends.mkldnn.conv]

    def reset() -> None:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
        for group in groups:
            _set(group, "none")
        _set(backends.cudnn.conv, "tf32")
        _set(backends.cudnn.rnn, "tf32")

    reset()
    yield
    reset()


def state() -> list[str]:
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]


@pytest.fixture(scope="module")
def on_the_cpu() -> dict[str, dict[str, Tensor]]:
    """Values in plain float32."""
    return {made.__name__: made("cpu") for made in (sampled, numbers, near)}


@pytest.mark.usefixtures("switches", "rounding_gpu")
@pytest.mark.parametrize("made", [sampled, numbers, near], ids=lambda made: made.__name__)
@pytest.mark.parametrize("switch", SWITCHES)
def test_stored_numbers_are_those_of_the_cpu_after_any_switch(switch, made, on_the_cpu):
    SWITCHES[switch]()
    before, here = state(), on_the_cpu[made.__name__]
    there = made("cuda")
    assert [name for name in here if not torch.equal(here[name], there[name])] == []
    assert state() == before


def icons(arithmetic: str, device: str) -> Icons:
    settings = InversionSettings(size_px=32, steps=4, arithmetic=arithmetic)
    directions = random(2, 64)
    return invert(cut(demo(device), "mixed3"), directions, range(2), settings, device=device)


@pytest.mark.usefixtures("switches", "rounding_gpu")
@pytest.mark.parametrize("switch", ["none", "products tf32"])
def test_float32_icons_are_those_of_the_cpu(switch):
    SWITCHES[switch]()
    assert torch.equal(icons("float32", "cuda").images, icons("float32", "cpu").images)


@pytest.mark.usefixtures("switches", "rounding_gpu")
def test_tf32_rounds_the_steps_and_not_the_finished_icons_numbers():
    before = state()
    rounded = icons("tf32", "cuda")
    assert state() == before
    assert not torch.equal(rounded.images, icons("float32", "cpu").images)
    with torch.no_grad():
        seen = to_network_input(rounded.images, torch.device("cpu"))
        assert torch.equal(rounded.activation, centre_activation(cut(demo("cpu"), "mixed3")(seen)))
