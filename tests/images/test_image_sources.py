"""The registry of image sources: adding a source takes one entry, and no other code lists the names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.images.image_source import ImageSource
from atlas_pipeline.images.index_table import Listing, index_table, subset
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.listing import class_names, listing, listing_stamp
from atlas_pipeline.images.resize_crop import apply_preprocess
from atlas_pipeline.images.sources import SOURCES

ARRAYS = [np.full((16, 16, 3), grey, np.uint8) for grey in (10, 200)]
CONFIG: dict[str, Any] = {"name": "run", "layers": ["mixed4"], "model": {"source": "demo"}}


@dataclass(frozen=True)
class Geometry:
    resize: int | None = None
    crop: int = 16
    interpolation: str = "bilinear"


class Arrays:
    def read(self, file, row):
        if row == 1:
            raise FileNotFoundError
        return ARRAYS[row]


def two_arrays(place, num_images, seed):
    rows = subset(2, num_images, seed)
    images = index_table([f"n{i}" for i in rows], [0] * len(rows), [""] * len(rows), rows, ["d"] * len(rows))
    return Listing(images, 2, LeftOut())


@pytest.fixture
def toy(monkeypatch):
    source = ImageSource(
        name="toy",
        title="toys",
        listing=two_arrays,
        stamp=lambda place: "toy-1",
        reader=lambda place, seed: Arrays(),
        class_names=lambda place: ["thing"],
        takes_path=False,
        num_images=2,
        keys=("root",),
    )
    monkeypatch.setitem(SOURCES, "toy", source)


def test_a_new_source_is_one_value(toy):
    config = parse_config({**CONFIG, "images": {"source": "toy"}})
    found = listing("toy", None, config.images.wanted, config.seed)
    assert found.images["key"].to_pylist() == ["n0", "n1"]
    assert (found.num_found, class_names("toy", None), listing_stamp("toy", None)) == (2, ["thing"], "toy-1")
    (batch,) = image_batches(found.images, "toy", None, Geometry(), seed=0, batch_size=4, num_workers=0)
    assert torch.equal(batch.images, torch.from_numpy(apply_preprocess(ARRAYS[0], Geometry()))[None])
    assert [(one.key, one.reason) for one in batch.bad] == [("n1", "missing")]


def test_the_config_knows_what_it_takes(toy):
    with pytest.raises(ConfigError, match="source 'toy' takes no path"):
        parse_config({**CONFIG, "images": {"source": "toy", "path": "x"}})
    with pytest.raises(ConfigError, match=r"label_column is for Parquet shards; .* set source: parquet"):
        parse_config({**CONFIG, "images": {"source": "toy", "label_column": "x"}})
    assert parse_config({**CONFIG, "images": {"source": "toy", "root": "x"}}).images.root == "x"
    with pytest.raises(ConfigError, match="'parquet', 'tar' or 'toy'; nearest: 'toy'"):
        parse_config({**CONFIG, "images": {"source": "tooy"}})
