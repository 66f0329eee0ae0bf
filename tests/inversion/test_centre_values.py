"""Values at the map's centre from the part of the image that it sees; images turned about a point."""

import numpy as np
import torch

from atlas_pipeline.inversion.centre_values import CentreValues
from atlas_pipeline.inversion.objective import centre_activation
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.before_relu import cut_before_relu, value_maps
from atlas_pipeline.models.turned_images import turned_images


def test_the_part_that_the_centre_sees_gives_the_values_of_the_whole_image():
    network = open_network(ModelSpec(source="demo"))
    images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    centre = CentreValues(cut_before_relu(network, "mixed3"), 64, "cpu")
    assert centre.side_px < 64
    seen = slice(centre.low, centre.low + centre.side_px)
    with torch.no_grad():
        wanted = centre_activation(value_maps(network, ["mixed3"]).read(images)["mixed3"])
    assert torch.allclose(centre.of_many(images[:, :, seen, seen], 2), wanted, atol=1e-4)
    # The field lies inside the part.
    assert 0 < centre.field.row < centre.side_px


def test_no_turn_is_the_image_moved():
    image = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    (same,) = turned_images(image, torch.zeros(1), (12, 9), (5, 4), 8)
    assert np.allclose(same.numpy(), image[:, 7:15, 5:13].numpy() / 255, atol=1e-5)


def test_a_quarter_turn_is_that_of_the_pixels():
    image = torch.randint(0, 256, (3, 12, 12), dtype=torch.uint8)
    (turned,) = turned_images(image, torch.tensor([90.0]), (6, 6), (6, 6), 12)
    assert np.allclose(turned.numpy(), np.rot90(image.numpy(), axes=(1, 2)) / 255, atol=1e-4)


def test_beyond_an_edge_the_image_goes_on_by_reflection():
    image = torch.full((3, 10, 10), 200, dtype=torch.uint8)
    turned = turned_images(image, torch.arange(0, 360, 30.0), (1, 1), (8, 8), 16)
    assert np.allclose(turned.numpy(), 200 / 255, atol=1e-5)
