"""The squared gradient of an activation, pixel by pixel."""

import torch
from torch import nn

from atlas_pipeline.models.effective_field import gradient_energy


def test_a_linear_map_has_the_energy_of_its_weights():
    torch.manual_seed(0)
    weights = torch.randn(3, 3, 6, 6)
    images, signs = torch.rand(2, 3, 6, 6), torch.tensor([[1, -1, 1], [-1, -1, 1]])
    energy = gradient_energy(lambda x: torch.einsum("bcij,kcij->bk", x, weights), images, signs)
    expected = torch.einsum("bk,kcij->bcij", signs.float(), weights).square().sum(1)
    assert torch.allclose(energy, expected, rtol=1e-5)


def test_energy_lies_where_the_position_looks():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    images, signs = torch.rand(5, 3, 12, 12), torch.ones(5, 4)
    energy = gradient_energy(lambda x: network(x)[:, :, 6, 6], images, signs).mean(0)
    assert (energy[4:9, 4:9] > 0).any()
    energy[4:9, 4:9] = 0
    assert energy.max() == 0


def test_images_in_a_batch_do_not_affect_each_other():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    images, signs = torch.rand(4, 3, 12, 12), torch.ones(4, 4)

    def energy(which):
        return gradient_energy(lambda x: network(x)[:, :, 6, 6], images[which], signs[which])

    assert torch.allclose(energy(slice(0, 4))[2:], energy(slice(2, 4)), atol=1e-6)
    assert not images.requires_grad
