"""A batch of sampling on a pretended GPU: the host waits for its results, and for nothing else."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pretended_cuda import pretended_cuda

from atlas_pipeline.models import ModelSpec, Network
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.demo_network import SmallInception
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.stages.sampling.sample import SampleStepConfig, add_batch
from atlas_pipeline.tables.layer_shard import LayerShard

LAYERS = ("mixed3", "mixed4", "mixed5")
IDS = np.arange(4)
# Uploading pageable images, and the results. Pinned images need no wait.
MOST_WAITS = 2
MOST_LAUNCHES = {"all": 200, "none": 115}


def small_network():
    with seeded(0):
        module = SmallInception(5, width=8)
    preprocess = Preprocess(resize=16, crop=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return Network(name="small", module=module, preprocess=preprocess, weights_note="")


def shards(network, layers, attribution="all", per_image=1):
    rows = pa.table({"image_id": IDS, "label": IDS, "key": [str(i) for i in IDS]})
    settings = SimpleNamespace(
        model=ModelSpec(source="demo"), source="generated", path=None, label_column=None
    )
    configs = [
        SampleStepConfig(
            model={},
            layer=layer,
            seed=0,
            positions_per_image=per_image,
            edge=1,
            attribution=attribution,
            shard_size=4,
            maxpool_gradient="smooth",
        )
        for layer in layers
    ]
    return [
        LayerShard(SimpleNamespace(config=config, settings=settings), network, rows) for config in configs
    ]


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (len(IDS), 3, 16, 16), generator=generator).to(torch.uint8)


def sampled(device, layers=LAYERS, **settings):
    network = small_network().to(device)
    taken = shards(network, layers, **settings)
    add_batch(IDS, images(), taken, network, device, 64)
    return taken, network


@pytest.mark.parametrize("attribution", ["all", "none", ("class 3", "class 1")])
@pytest.mark.parametrize("per_image", [1, 3])
def test_a_further_batch_waits_for_its_images_and_its_results(gpu, attribution, per_image):
    taken, network = sampled("cuda", attribution=attribution, per_image=per_image)
    gpu.clear()
    add_batch(IDS, images(), taken, network, "cuda", 64)
    assert gpu.num_waits <= MOST_WAITS, gpu.waits
    gpu.clear()
    add_batch(IDS, images().pin_memory(), taken, network, "cuda", 64)
    assert gpu.num_waits <= 1, gpu.waits


def test_further_layers_wait_for_nothing_more():
    waits = []
    for layers in (LAYERS[:1], LAYERS):
        with pretended_cuda() as log:
            taken, network = sampled("cuda", layers)
            log.clear()
            add_batch(IDS, images(), taken, network, "cuda", 64)
            waits.append(Counter(reason for reason, _ in log.waits.elements()))
    assert waits[0] == waits[1]


@pytest.mark.parametrize("attribution", ["all", "none"])
def test_launches_of_a_batch_stay_within_their_budget(gpu, attribution):
    taken, network = sampled("cuda", attribution=attribution)
    gpu.clear()
    add_batch(IDS, images(), taken, network, "cuda", 64)
    assert 0 < gpu.num_launches <= MOST_LAUNCHES[attribution]


@pytest.mark.parametrize("per_image", [1, 3])
def test_rows_equal_those_of_the_cpu_to_the_bit(gpu, per_image):
    (there, _), (here, _) = (sampled(device, per_image=per_image) for device in ("cuda", "cpu"))
    for one, other in zip(there, here, strict=True):
        assert one.output([]).table.equals(other.output([]).table)
