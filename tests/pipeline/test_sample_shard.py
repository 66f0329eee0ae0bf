"""Rows of a shard when memory is short, and when no image is readable."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from atlas_pipeline.models import ModelSpec, layer_samples, open_network
from atlas_pipeline.stages.sampling import sample
from atlas_pipeline.tables.layer_shard import LayerShard

CONFIG = sample.SampleStepConfig(
    model={}, layer="4", seed=0, positions_per_image=2, edge=1, attribution="all", maxpool_gradient="exact",
    shard_size=5,
)  # fmt: skip
SETTINGS = SimpleNamespace(model=ModelSpec(source="python"), source="generated", path=None, label_column=None)
ROWS = pa.table({"image_id": [3, 5, 6, 8, 9], "label": [0, 1, 2, 3, 4], "key": list("abcde")})
IDS = np.array(ROWS["image_id"].to_pylist())


@pytest.fixture
def network(small):
    return open_network(ModelSpec(source="python", name=small["model"]["name"]))


def shard(network) -> LayerShard:
    return LayerShard(SimpleNamespace(config=CONFIG, settings=SETTINGS), network, ROWS)


def test_a_batch_too_large_for_the_gpu_is_halved_and_gives_the_same_rows(network, monkeypatch):
    images = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    whole = shard(network)
    assert sample.add_batch(IDS, images, [whole], network, "cpu", 64) == 64
    sizes: list[int] = []
    real = layer_samples.layer_samples

    def short_of_memory(network, batch, requests):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(network, batch, requests)

    monkeypatch.setattr(layer_samples, "layer_samples", short_of_memory)
    halved = shard(network)
    # The returned size is the one that fitted; the next batch starts with it.
    assert sample.add_batch(IDS, images, [halved], network, "cpu", 64) == 2
    assert sizes == [5, 2, 2, 1]
    one, other = (s.output([]).table for s in (whole, halved))
    assert one["image_id"].to_pylist() == other["image_id"].to_pylist() == np.repeat(IDS, 2).tolist()
    for name in ("activation", "attribution"):
        ours, theirs = (np.stack(table[name].to_numpy()).astype(float) for table in (one, other))
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-4)


def test_a_shard_of_bad_images_has_every_column_and_no_row(network):
    empty = shard(network).output([{"image_id": 3, "key": "a", "reason": "cut off"}])
    full = shard(network)
    sample.add_batch(IDS, torch.zeros(5, 3, 32, 32, dtype=torch.uint8), [full], network, "cpu", 64)
    assert empty.table.num_rows == 0
    assert empty.table.schema.names == full.output([]).table.schema.names
    assert empty.notes["bad"][0]["key"] == "a"


ASIDE = """
from network import PREPROCESS, nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.aside, self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        self.aside(x)
        return self.head(self.conv(x).mean(dim=(2, 3)))
"""


def test_a_run_says_that_attributions_are_zero_for_good(small, atlas, tmp_path):
    (tmp_path / "aside.py").write_text(ASIDE)
    config = {
        **small,
        "model": {"source": "python", "name": f"{tmp_path}/aside.py:Net"},
        "layers": ["conv", "aside"],
    }
    result = atlas("sample", config)
    assert result.exit_code == 0, result.output
    assert "aside: every attribution is zero, for the logits do not depend on this layer\n" in result.output
    assert "conv: every attribution" not in result.output
