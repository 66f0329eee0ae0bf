"""Parquet shards whose rows hold an image's path instead of its bytes."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import encoded, picture, write_shard

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.images.listing import list_images, listing, listing_stamp
from atlas_pipeline.models.preprocess import Preprocess

KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
RAW = [encoded(picture(i)) for i in range(6)]
SIZE = Preprocess(resize=24, crop=24, mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear")


def images_of(path, root=None):
    found = listing("parquet", str(path), None, 0, root=root and str(root))
    batches = list(image_batches(found.images, "parquet", str(path), SIZE, 0, 99, 0, root=root and str(root)))
    images = [image for batch in batches for image in batch.images.numpy()]
    return found, images, [bad for batch in batches for bad in batch.bad]


@pytest.fixture
def embedded(tmp_path):
    """The images as decoded from shards that hold their bytes."""
    write_shard(tmp_path / "embedded/x.parquet", RAW, [None] * 6, [0] * 6)
    return images_of(tmp_path / "embedded")[1]


@pytest.mark.parametrize("where", ["beside the shard", "beside all shards", "images.root", "absolute"])
def test_paths_are_read_below_their_root(tmp_path, embedded, where):
    paths = [f"p/{i}.png" for i in range(6)]
    folder = {"beside the shard": "s/t", "beside all shards": "s"}.get(where, "elsewhere")
    for path, raw in zip(paths, RAW, strict=True):
        (tmp_path / folder / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / path).write_bytes(raw)
    if where == "absolute":
        paths = [str(tmp_path / folder / path) for path in paths]
    write_shard(tmp_path / "s/t/x.parquet", [None] * 6, paths, [0] * 6)
    found, images, bad = images_of(tmp_path / "s", tmp_path / folder if folder == "elsewhere" else None)
    assert not bad
    assert np.array_equal(images, embedded)
    assert found.images["key"].to_pylist() == paths
    by_file = list_images("folder", str(tmp_path / folder / "p"), None, 0)["digest"]
    assert found.images["digest"].to_pylist() == by_file.to_pylist()


@pytest.mark.parametrize("statistics", [True, False])
def test_rows_of_both_kinds(tmp_path, embedded, statistics):
    cells = [{"bytes": raw if i % 2 else None, "path": f"{i}.png"} for i, raw in enumerate(RAW)]
    image = pa.array(cells, KIND)
    options = {"row_group_size": 4, "write_statistics": statistics}
    (tmp_path / "s").mkdir()
    pq.write_table(pa.table({"image": image, "label": [0] * 6}), tmp_path / "s/x.parquet", **options)
    for i in (0, 2):
        (tmp_path / "s" / f"{i}.png").write_bytes(RAW[i])
    _, images, bad = images_of(tmp_path / "s")
    assert np.array_equal(images, [embedded[i] for i in (0, 1, 2, 3, 5)])
    assert [(one.key, "no file '4.png' below" in one.reason) for one in bad] == [("4.png", True)]


@pytest.mark.parametrize("statistics", [True, False])
def test_shards_of_paths_alone_say_so_in_one_line(tmp_path, statistics):
    cells = [{"bytes": None, "path": f"/data/{i}.jpg"} for i in range(30)]
    image = pa.array(cells, KIND)
    pq.write_table(pa.table({"image": image}), tmp_path / "x.parquet", write_statistics=statistics)
    message = r"hold paths of images and no bytes, .* 30 files, such as '/data/0\.jpg'; set images\.root"
    for root in (None, str(tmp_path)):
        with pytest.raises(ImagesError, match=message) as caught:
            listing("parquet", str(tmp_path), None, 0, root=root)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("image", [[{"bytes": None, "path": None}] * 3, [None] * 3])
def test_shards_of_nulls_alone_are_refused(tmp_path, image):
    pq.write_table(pa.table({"image": pa.array(image, KIND)}), tmp_path / "struct.parquet")
    pq.write_table(pa.table({"image": pa.nulls(3, pa.binary())}), tmp_path / "bytes.parquet")
    for name in ("struct", "bytes"):
        with pytest.raises(ImagesError, match="neither bytes nor paths of images: all 3 rows are null"):
            listing("parquet", str(tmp_path / f"{name}.parquet"), None, 0)


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    write_shard(tmp_path / "x.parquet", RAW[:1], [None], [0])
    with pytest.raises(ImagesError, match=r"images\.root '.*nowhere' is no folder"):
        listing("parquet", str(tmp_path), None, 0, root=str(tmp_path / "nowhere"))


def test_no_path_leads_out_of_the_root(tmp_path):
    (tmp_path / "secret.png").write_bytes(RAW[0])
    (tmp_path / "root").mkdir()
    (tmp_path / "root/1.png").write_bytes(RAW[1])
    paths = ["../secret.png", str(tmp_path / "secret.png"), "1.png", "no/../1.png", "zero\0.png"]
    write_shard(tmp_path / "s/x.parquet", [None] * 5, paths, [0] * 5)
    _, images, bad = images_of(tmp_path / "s", tmp_path / "root")
    assert [one.image_id for one in bad] == [0, 1, 4]
    assert len(images) == 2


def test_the_stamp_and_the_digest_change_with_a_file(tmp_path):
    write_shard(tmp_path / "s/x.parquet", [None] * 2, ["0.png", "1.png"], [0] * 2)
    for i in range(2):
        (tmp_path / f"s/{i}.png").write_bytes(RAW[i])

    def seen():
        digests = list_images("parquet", str(tmp_path / "s"), None, 0)["digest"].to_pylist()
        return listing_stamp("parquet", str(tmp_path / "s")), *digests

    before = seen()
    (tmp_path / "s/1.png").write_bytes(RAW[2])
    os.utime(tmp_path / "s/1.png", ns=(1, 1))
    after = seen()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, False]


def test_shards_of_bytes_have_the_stamp_of_their_files_alone(tmp_path):
    write_shard(tmp_path / "s/x.parquet", RAW[:2], ["0.png", "1.png"], [0] * 2)
    before = listing_stamp("parquet", str(tmp_path / "s"))
    write_shard(tmp_path / "t/x.parquet", RAW[:2], ["0.png", "1.png"], [0] * 2)
    status = (tmp_path / "s/x.parquet").stat()
    os.utime(tmp_path / "t/x.parquet", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "root").mkdir()
    assert listing_stamp("parquet", str(tmp_path / "t"), str(tmp_path / "root")) == before
