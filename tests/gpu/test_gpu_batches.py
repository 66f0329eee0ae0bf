"""Batches of images on a pretended GPU: sent ahead, without a wait of the host."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import pytest
import torch

from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.images.listing import list_images


@dataclass(frozen=True)
class Geometry:
    resize: int | None = None
    crop: int = 24
    interpolation: str = "bilinear"


def batches(device, num_workers=0):
    index = list_images("generated", None, 11, seed=0)
    return closing(
        image_batches(index, "generated", None, Geometry(), 0, 4, num_workers=num_workers, device=device)
    )


def images_of(device):
    with batches(device) as found:
        return torch.cat([batch.images for batch in found])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_images_arrive_without_a_wait_and_are_those_of_the_cpu(gpu, num_workers):
    wanted, found = images_of("cpu"), []
    gpu.clear()
    with batches("cuda", num_workers) as sent:
        for batch in sent:
            assert batch.images.is_cuda
            found.append(batch.images + 0)  # on the caller's stream, which must have waited for the copy
    assert gpu.num_waits == 0
    assert gpu.bytes_up == 12 * 3 * 24 * 24 - 3 * 24 * 24
    assert torch.equal(torch.cat(found).cpu(), wanted)


def test_a_batch_for_which_the_gpu_has_no_memory_stays_in_this_process(gpu):
    wanted = images_of("cpu")
    gpu.refuse("torch", "copy to the GPU", call=2)
    with batches("cuda") as sent:
        found = [batch.images for batch in sent]
    assert [images.is_cuda for images in found] == [True, False, True]
    assert torch.equal(torch.cat([images.cpu() for images in found]), wanted)


def test_memory_that_cannot_be_locked_is_used_as_it_is(gpu):
    wanted = images_of("cpu")
    gpu.refuse("driver", "pin_memory", times=99)
    with batches("cuda") as sent:
        assert torch.equal(torch.cat([batch.images.cpu() for batch in sent]), wanted)
