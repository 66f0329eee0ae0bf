"""Icons and attributions on a pretended GPU."""

from collections import Counter

import torch
from pretended_cuda import pretended_cuda

from atlas_pipeline.inversion import Icons, InversionSettings, invert
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.cut import cut


def icons(device: str, **settings: object) -> Icons:
    network = open_network(ModelSpec(source="demo")).to(device)
    generator = torch.Generator().manual_seed(0)
    directions = torch.rand(9, network.runs["mixed3"].shape[0], generator=generator) + 0.1
    return invert(
        cut(network, "mixed3"),
        directions,
        seeds=range(9),
        settings=InversionSettings(size_px=32, **settings),
        device=device,
        batch_size=4,
    )


def test_icons_equal_those_of_the_cpu_to_the_bit(gpu):
    there = icons("cuda", steps=4)
    assert torch.equal(there.images, icons("cpu", steps=4).images)


def test_a_further_step_waits_for_nothing():
    waits = []
    for steps in (30, 40):
        with pretended_cuda() as log:
            icons("cuda", steps=steps)
            waits.append(Counter(log.waits))
    assert not waits[1] - waits[0]


def test_attributions_equal_those_of_the_cpu_to_the_bit(gpu):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    positions = torch.ones(2, 2, dtype=torch.long)

    def found(device: str) -> torch.Tensor:
        network = open_network(ModelSpec(source="demo")).to(device)
        return attribution(network, images.to(device), "mixed3", positions.to(device), "smooth")

    there = found("cuda")
    assert there.is_cuda
    assert gpu.launches_of("convolution") > 0
    assert torch.equal(there.cpu(), found("cpu"))
