"""The optimiser's step on a pretended GPU: no wait, few launches, and a graph that equals plain steps."""

import warnings

import pytest
import torch
from pretended_cuda import pretended_cuda
from torch import nn

from atlas_pipeline.inversion import InversionSettings, invert, magnitude_spectrum
from atlas_pipeline.inversion.canvas import Canvas
from atlas_pipeline.inversion.captured_step import Stepper
from atlas_pipeline.inversion.icon_batch import Optimizer
from atlas_pipeline.inversion.objectives import Direction
from atlas_pipeline.inversion.vignette import Field, contrast_map

CUDA = torch.device("cuda")
NUM_CHANNELS = 12
# Launches of a plain step beside those of the network and its gradient.
BUDGETS = {
    "default": 76,
    "still": 74,
    "patience": 86,
    "whitened": 78,
    "alpha": 117,
    "maco": 95,
    "vignette": 78,
}
SETTINGS = {
    "default": {},
    "still": {"settle": 0.0, "still": 1.0},
    "patience": {"patience": 3},
    "whitened": {"whitening": 1.0},
    "alpha": {"alpha": 1.0},
    "maco": {"image": "maco"},
    "vignette": {"vignette": 0.9},
}


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, NUM_CHANNELS, 5, 2, 2), nn.ReLU()
        )
    layers[2].weight.data *= 4
    return layers.eval().requires_grad_(False)


def settings_of(name: str, steps: int = 30, **others: object) -> InversionSettings:
    return InversionSettings(size_px=16, steps=steps, **{**SETTINGS.get(name, {}), **others})


def extras_of(settings: InversionSettings) -> dict[str, torch.Tensor]:
    extras = {}
    if settings.whitening:
        extras["precision"] = torch.diag(torch.linspace(0.1, 2, NUM_CHANNELS))
    if settings.image == "maco":
        real = torch.rand(8, 16, 16, 3, generator=torch.Generator().manual_seed(4)) * 255
        extras["magnitude"] = magnitude_spectrum(real.to(torch.uint8), settings)
    return extras


def icons(device: str, settings: InversionSettings, num: int = 6, module: nn.Module | None = None, **others):
    directions = torch.rand(num, NUM_CHANNELS, generator=torch.Generator().manual_seed(0)) ** 2 + 0.05
    module = network() if module is None else module
    return invert(
        module.to(device), directions, range(num), settings, device=device, **extras_of(settings), **others
    )


def optimizer_of(settings: InversionSettings) -> tuple[Optimizer, Direction]:
    extras = extras_of(settings)
    root = extras["precision"].sqrt() if "precision" in extras else None
    goal = Direction(
        network().to("cuda"), torch.ones(4, NUM_CHANNELS), kind=settings.objective, root=root, device="cuda"
    )
    contrast = contrast_map(Field(8, 8, 3), 0.9, settings) if settings.vignette else None
    canvas = Canvas(settings, CUDA, extras.get("magnitude"), contrast)
    return Optimizer(goal, settings, canvas, CUDA), goal


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_waits_for_nothing_and_launches_little(gpu, name):
    optimizer, goal = optimizer_of(settings_of(name))
    batch = optimizer.new_batch(range(4), range(4), None)
    optimizer.step(batch)
    gpu.clear()
    optimizer.step(batch)
    assert (gpu.num_waits, gpu.bytes_up, gpu.bytes_down) == (0, 0, 0), gpu.waits
    num_launches = gpu.num_launches

    images = torch.rand(
        4, 3, *2 * [goal.window(16).high - goal.window(16).low], device="cuda"
    ).requires_grad_()
    gpu.clear()
    torch.autograd.grad(goal.outputs(images).sum(), images)
    assert num_launches - gpu.num_launches <= BUDGETS[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_graph_gives_the_icons_of_the_cpu_to_the_bit(name):
    settings = settings_of(name, steps=40)
    with pretended_cuda() as log:
        there = icons("cuda", settings)
    here = icons("cpu", settings)
    assert log.launches_of("graph replay") >= 24
    assert torch.equal(there.images, here.images)
    assert torch.equal(there.steps, here.steps)


def test_each_further_step_is_one_launch():
    launches = []
    for steps in (60, 70):
        with pretended_cuda() as log:
            icons("cuda", settings_of("default", steps=steps))
            launches.append((log.num_launches, log.launches_of("graph replay")))
    (few, few_replays), (many, many_replays) = launches
    assert many - few == many_replays - few_replays == 10


def test_later_batches_use_the_same_graphs():
    settings = settings_of("default")
    with pretended_cuda() as log:
        there = icons("cuda", settings, batch_size=2)
    # Three batches; the first takes one plain step.
    assert log.launches_of("graph replay") == 3 * 30 - 1
    assert torch.equal(there.images, icons("cpu", settings, batch_size=2).images)


def test_with_patience_places_are_filled_and_the_batch_shrinks_to_few_sizes(monkeypatch):
    sizes = []
    step = Stepper.step

    def spied(self, batch):
        sizes.append(len(batch.numbers))
        step(self, batch)

    monkeypatch.setattr(Stepper, "step", spied)
    settings = settings_of("patience", steps=200, learning_rate=0.1)
    with pretended_cuda() as log:
        there = icons("cuda", settings, num=14, batch_size=8)
    assert log.launches_of("graph replay") > 100
    assert {8, 4} <= set(sizes) <= {8, 4, 2, 1}
    here = icons("cpu", settings, num=14, batch_size=8)
    assert len(set(here.steps.tolist())) > 4
    # Batches of other sizes round differently.
    torch.testing.assert_close(there.fidelity, here.fidelity, atol=1e-3, rtol=0)


class Deaf(nn.Module):
    """A network whose ReLU is zero on grey images, so that they have no gradient."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, NUM_CHANNELS, 5, padding=2).requires_grad_(False)
        nn.init.normal_(self.conv.weight, std=0.3, generator=torch.Generator().manual_seed(0))
        nn.init.constant_(self.conv.bias, -1.2)

    def forward(self, images):
        return self.conv(images - 0.5).relu()


@pytest.mark.parametrize("is_warm", [False, True])
def test_an_icon_without_a_gradient_restarts_within_the_graph(is_warm):
    settings = settings_of("default", steps=60, warm_steps=60)
    start = torch.full((6, 16, 16, 3), 128, dtype=torch.uint8) if is_warm else None
    with pretended_cuda() as log:
        there = icons("cuda", settings, module=Deaf(), start=start)
    assert log.launches_of("graph replay") > 50
    assert torch.equal(there.images, icons("cpu", settings, module=Deaf(), start=start).images)
    assert (there.activation != 0).any(1).all()


def test_a_network_that_reads_the_device_takes_plain_steps_and_says_so():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = network()

        def forward(self, images):
            maps = self.layers(images)
            return maps if float(maps.detach().sum()) > -1 else maps * 2

    settings = settings_of("default")
    with (
        pretended_cuda() as log,
        pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph") as said,
    ):
        there = icons("cuda", settings, module=Reading(), batch_size=4)
    assert len([warning for warning in said if "CUDA graph" in str(warning.message)]) == 1
    assert log.launches_of("graph replay") == 0
    assert torch.equal(there.images, icons("cpu", settings, module=Reading(), batch_size=4).images)


@pytest.mark.parametrize("operation", ["convolution", "graph replay"])
def test_memory_that_ends_with_the_graph_halves_the_batch(operation):
    settings = settings_of("default")
    counts = []
    with pretended_cuda() as log, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # Before a step is recorded, one icon and the whole batch take one; each has two convolutions.
        call = 5 if operation == "convolution" else 1
        log.refuse("torch", operation, call=call, at="inversion/captured_step.py")
        there = icons("cuda", settings, batch_size=4, advance=counts.append)
        assert log.refusals[0].raised == 1
        assert log.launches_of("graph replay") > 0
    assert counts == [2, 2, 2]
    assert torch.equal(there.images, icons("cpu", settings, batch_size=2).images)


def test_bfloat16_converts_no_weight_at_a_step():
    settings = settings_of("default", arithmetic="bfloat16")
    copies = []
    for steps in (30, 40):
        with pretended_cuda() as log:
            optimizer, _ = optimizer_of(settings)
            batch = optimizer.new_batch(range(4), range(4), None)
            log.clear()
            for _ in range(steps):
                optimizer.step(batch)
            copies.append(log.launches_of("_to_copy"))
    # The images and the outputs, there and back.
    assert copies[1] - copies[0] <= 10 * 4
