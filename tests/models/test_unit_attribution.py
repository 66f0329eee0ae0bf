"""Attributions of single units: each is a unit's share of its position's attribution."""

import pytest
import torch

from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.unit_attribution import unit_attribution

LAYER = "mixed5"


@pytest.fixture(scope="module")
def network():
    return open_network(ModelSpec(source="demo"))


def test_units_shares_add_up_to_the_attribution_of_their_position(network):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    position, num_units = torch.tensor([[3, 4]]), 192
    whole = attribution(network, image, LAYER, position)
    units = torch.arange(num_units)
    shares = torch.cat(
        [
            unit_attribution(
                network, image.expand(len(part), -1, -1, -1), LAYER, part, position.expand(len(part), 2)
            )
            for part in units.split(64)
        ]
    )
    torch.testing.assert_close(shares.sum(0, keepdim=True), whole, rtol=1e-3, atol=1e-4)
    assert (shares.abs().sum(1) > 0).sum() > 10


def test_each_image_has_its_own_unit_and_position(network):
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    units, positions = torch.tensor([5, 40, 100]), torch.tensor([[0, 7], [3, 3], [6, 2]])
    together = unit_attribution(network, images, LAYER, units, positions)
    for row in range(3):
        part = slice(row, row + 1)
        alone = unit_attribution(network, images[part], LAYER, units[part], positions[part])
        torch.testing.assert_close(together[part], alone, rtol=1e-4, atol=1e-5)
