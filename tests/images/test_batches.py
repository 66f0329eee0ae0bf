from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from making import encoded, picture, write_files, write_shard, write_tar

from atlas_pipeline.errors import ResourceError
from atlas_pipeline.images import decoding_processes, reading
from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.images.decoding_processes import decoded_chunks, prepare_workers
from atlas_pipeline.images.image_source import ImageRef
from atlas_pipeline.images.listing import list_images
from atlas_pipeline.images.reading import Decoded
from atlas_pipeline.images.resize_crop import apply_preprocess
from atlas_pipeline.images.shared_slots import shared_slots
from atlas_pipeline.images.sources import SOURCES


@dataclass(frozen=True)
class Geometry:
    resize: int | None = 20
    crop: int = 16
    interpolation: str = "bilinear"


def read(index, source, path, batch_size=4, num_workers=0, preprocess=None):
    """Read all batches of an index and join them: ids, images, bad images, and the batch sizes."""
    found = list(image_batches(index, source, path, preprocess or Geometry(), 0, batch_size, num_workers))
    ids = np.concatenate([batch.image_id for batch in found])
    images = torch.cat([batch.images for batch in found])
    return (
        ids,
        images,
        [one for batch in found for one in batch.bad],
        [len(batch.image_id) for batch in found],
    )


@pytest.fixture
def folder(tmp_path):
    """Eleven good images and four bad ones."""
    root = tmp_path / "images"
    write_files(root, [f"{i:02}.png" for i in range(11)])
    (root / "03-empty.jpg").write_bytes(b"")
    (root / "05-words.jpg").write_text("words " * 50)
    (root / "07-cut.jpg").write_bytes(encoded(picture(0, 90, 90), "JPEG")[:900])
    write_files(root, ["09-gone.png"])
    index = list_images("folder", str(root), None, 0)
    (root / "09-gone.png").unlink()
    return index, str(root)


@pytest.fixture
def shards(tmp_path):
    raw = [encoded(picture(i)) for i in range(20)]
    raw[7] = raw[7][:80]
    write_shard(tmp_path / "s/0.parquet", raw[:9], [None] * 9, [0] * 9, row_group_size=4)
    write_shard(tmp_path / "s/1.parquet", raw[9:], [None] * 11, [0] * 11, row_group_size=5)
    return list_images("parquet", str(tmp_path / "s"), None, 0), str(tmp_path / "s")


@pytest.fixture
def tars(tmp_path):
    raw = [encoded(picture(i)) for i in range(20)]
    raw[7] = raw[7][:80]
    write_tar(tmp_path / "t/0.tar", {f"{i:02}.png": raw[i] for i in range(9)})
    write_tar(tmp_path / "t/1.tar", {f"{i:02}.png": raw[i] for i in range(9, 20)})
    return list_images("tar", str(tmp_path / "t"), None, 0), str(tmp_path / "t")


def test_images_are_in_order_and_bad_ones_are_named(folder):
    index, root = folder
    ids, images, bad, sizes = read(index, "folder", root)
    keys = index["key"].to_pylist()
    assert {one.key: one.reason.split(" (")[0] for one in bad} == {
        "03-empty.jpg": "empty file",
        "05-words.jpg": "not an image of a known format",
        "07-cut.jpg": "image file is truncated",
        "09-gone.png": "missing",
    }
    assert all(keys[one.image_id] == one.key for one in bad)
    assert sorted([*ids.tolist(), *(one.image_id for one in bad)]) == list(range(15))
    assert (np.diff(ids) > 0).all()
    assert sizes == [4, 4, 3]
    assert ids.dtype == np.int64
    assert (images.dtype, images.shape) == (torch.uint8, (11, 3, 16, 16))
    for i, image in zip(ids, images, strict=True):
        number = int(keys[i].removesuffix(".png"))
        assert np.array_equal(image.numpy(), apply_preprocess(picture(number), Geometry()))


def at_most(source, num, monkeypatch):
    """Let workers read at most ``num`` images of a source at a time."""
    monkeypatch.setitem(SOURCES, source, replace(SOURCES[source], max_chunk_images=num))


KINDS = {"folder": "folder", "shards": "parquet", "tars": "tar"}


@pytest.mark.parametrize("source", KINDS)
def test_batch_size_and_chunks_change_nothing(source, request, monkeypatch):
    index, path = request.getfixturevalue(source)
    kind = KINDS[source]
    ids, images, bad, _ = read(index, kind, path)
    for batch_size, chunk in ((1, 64), (3, 2), (5, 7), (1000, 3)):
        at_most(kind, chunk, monkeypatch)
        other = read(index, kind, path, batch_size)
        assert np.array_equal(ids, other[0])
        assert torch.equal(images, other[1])
        assert bad == other[2]


def test_part_of_an_index(shards):
    index, path = shards
    ids, images, _, _ = read(index, "parquet", path)
    some = read(index.slice(6, 9), "parquet", path)
    assert some[0].tolist() == [6, *range(8, 15)]
    assert torch.equal(some[1], images[(ids >= 6) & (ids < 15)])


def test_tar_and_parquet_give_the_same(shards, tars):
    of_parquet, of_tar = read(shards[0], "parquet", shards[1]), read(tars[0], "tar", tars[1])
    assert np.array_equal(of_parquet[0], of_tar[0])
    assert torch.equal(of_parquet[1], of_tar[1])


def test_a_tar_shard_cut_after_it_was_listed_gives_bad_images(tars):
    index, path = tars
    os.truncate(os.path.join(path, "1.tar"), index["row"].to_pylist()[12] + 600)
    ids, _, bad, _ = read(index, "tar", path)
    assert ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert [one.key for one in bad if one.image_id > 8] == [f"1.tar/{i}.png" for i in range(12, 20)]
    assert "cannot be read (ends at byte" in bad[-1].reason


def test_workers_give_what_this_process_gives(folder, shards, tars, monkeypatch):
    at_most("folder", 2, monkeypatch)
    prepare_workers()
    state = torch.get_rng_state()
    for (index, path), source in ((folder, "folder"), (shards, "parquet"), (tars, "tar")):
        alone, helped = read(index, source, path), read(index, source, path, num_workers=2)
        assert np.array_equal(alone[0], helped[0])
        assert torch.equal(alone[1], helped[1])
        assert alone[2:] == helped[2:]
    assert torch.equal(torch.get_rng_state(), state)


def test_generated_images_do_not_hang_on_workers():
    pytest.importorskip("atlas_pipeline.images.generated")
    index = list_images("generated", None, 6, seed=0)
    alone = read(index, "generated", None)
    helped = read(index, "generated", None, num_workers=1)
    assert alone[0].tolist() == list(range(6))
    assert torch.equal(alone[1], helped[1])


def test_relative_paths(shards, monkeypatch):
    index, path = shards
    monkeypatch.chdir(os.path.dirname(path))
    assert torch.equal(read(index, "parquet", "s", num_workers=1)[1], read(index, "parquet", path)[1])


def test_chunks_end_with_tar_shards(tars, monkeypatch):
    at_most("tar", 6, monkeypatch)
    cut = reading.chunks(reading.image_refs(tars[0]), "tar", tars[1], crop=16)
    assert [len(chunk) for chunk in cut] == [6, 3, 6, 5]


def test_chunks_end_with_row_groups(shards):
    index, path = shards
    cut = reading.chunks(reading.image_refs(index), "parquet", path, crop=16)
    assert [len(chunk) for chunk in cut] == [4, 4, 1, 5, 5, 1]


def test_chunks_of_large_images_are_small():
    places = [ImageRef(i, str(i), str(i), -1) for i in range(9)]
    assert [len(c) for c in reading.chunks(places, "folder", "x", crop=1024)] == [5, 4]


def test_a_shard_that_vanishes_or_breaks_is_counted_image_by_image(shards):
    index, path = shards
    os.unlink(os.path.join(path, "0.parquet"))
    ids, _, bad, _ = read(index, "parquet", path)
    assert ids.tolist() == list(range(9, 20))
    assert {one.reason for one in bad} == {"missing"}
    with open(os.path.join(path, "1.parquet"), "wb") as file:
        file.write(b"words")
    _, images, bad, _ = read(index, "parquet", path)
    assert images.shape == (0, 3, 16, 16)
    assert len(bad) == 20
    assert "cannot be read" in bad[-1].reason


def test_only_bad_images(tmp_path):
    (tmp_path / "1.png").write_bytes(b"")
    ids, images, bad, _ = read(list_images("folder", str(tmp_path), None, 0), "folder", str(tmp_path))
    assert (len(ids), images.shape, len(bad)) == (0, (0, 3, 16, 16), 1)


def test_no_rows_give_no_batches(folder):
    index, root = folder
    assert list(image_batches(index.slice(0, 0), "folder", root, Geometry(), 0, 4, 2)) == []


def helpers():
    """The processes and threads that reading starts."""
    threads = [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
    return multiprocessing.active_children() + threads


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_leaving_early_ends_the_helpers(folder, monkeypatch, error):
    at_most("folder", 1, monkeypatch)
    index, root = folder
    held = []
    with suppress(error or ()), closing(image_batches(index, "folder", root, Geometry(), 0, 1, 2)) as batches:
        next(batches)
        assert len(helpers()) == 3
        if error is not None:
            # Someone may keep the error, whose traceback keeps the generator.
            held.append(error())
            raise held[0]
    assert helpers() == []


def test_an_error_of_a_decoding_process_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(decoded_chunks(Faulty(), [[ImageRef(0, "a", "a", -1)]], num_processes=1, side=1))


class Faulty:
    def read(self, chunk, images):
        raise ZeroDivisionError


class Counting:
    """A reader whose images hold their number."""

    def read(self, chunk, images):
        for row, ref in zip(images, chunk, strict=False):
            row[:] = ref.image_id
        return Decoded(np.array([ref.image_id for ref in chunk]), images[: len(chunk)], [])


@pytest.mark.parametrize("shares_memory", [True, False])
def test_a_chunk_stays_as_it_is_until_the_next_is_asked_for(shares_memory, monkeypatch):
    if not shares_memory:
        monkeypatch.setattr(decoding_processes, "shared_slots", lambda *_: None)
    work = [[ImageRef(2 * i + j, "a", "a", -1) for j in range(2 if i < 13 else 1)] for i in range(14)]
    seen = []
    for number, chunk in enumerate(decoded_chunks(Counting(), work, num_processes=1, side=3)):
        if number < 3:
            time.sleep(0.2)  # let the process run as far ahead as it may
        assert chunk.images.shape == (len(work[number]), 3, 3, 3)
        assert chunk.images[:, 0, 0, 0].tolist() == chunk.image_id.tolist()
        seen += chunk.image_id.tolist()
    assert seen == list(range(27))


def test_pixels_are_not_sent_through_the_pipe():
    shape = (4, 3, 50, 50)
    slots = shared_slots(2, shape)
    decoder = decoding_processes._Decoder(Counting(), slots, shape)
    chunk = [ImageRef(7 + i, "a", "a", -1) for i in range(4)]
    assert len(pickle.dumps(decoder[1, chunk])) < 1000
    assert slots.array(1)[:, 0, 0, 0].tolist() == [7, 8, 9, 10]
    assert not slots.array(0).any()


def test_without_shared_memory_images_are_the_same(folder, monkeypatch):
    index, root = folder
    shared = read(index, "folder", root, num_workers=1)
    monkeypatch.setattr(os, "memfd_create", refuse)
    piped = read(index, "folder", root, num_workers=1)
    assert torch.equal(shared[1], piped[1])
    assert shared[2:] == piped[2:]


def refuse(*_):
    raise OSError("not permitted")


class Deadly:
    """A reader whose process is killed when it reads."""

    def read(self, chunk, images):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.extended
def test_a_worker_that_dies_is_named():
    with pytest.raises(ResourceError, match="image worker process died"):
        list(decoded_chunks(Deadly(), [[ImageRef(0, "a", "a", -1)]], num_processes=1, side=1))


def _tell_workers_and_wait(queue, index, root):
    batches = image_batches(index, "folder", root, Geometry(), 0, 1, 2)
    next(batches)
    queue.put([child.pid for child in multiprocessing.active_children()])
    time.sleep(60)


@pytest.mark.extended
def test_workers_end_when_their_parent_is_killed(folder):
    context = decoding_processes._context()
    queue = context.SimpleQueue()
    process = context.Process(target=_tell_workers_and_wait, args=(queue, *folder))
    process.start()
    workers = queue.get()
    maps = [Path(f"/proc/{worker}/maps").read_text() for worker in workers]
    process.kill()
    process.join()
    deadline = time.monotonic() + 20
    while any(_is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) == 1
    assert not any(_is_running(worker) for worker in workers)
    # Images are in memory without a name, so no file remains.
    assert all("/memfd:atlas-images" in one for one in maps)


INTERRUPTED = """
import os, signal
from multiprocessing import forkserver
from atlas_pipeline.images import decoding_processes
decoding_processes.prepare_workers()
os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
worker = decoding_processes._context().Process(target=signal.raise_signal, args=(signal.SIGINT,))
worker.start()
worker.join()
print("ended with", worker.exitcode)
"""


@pytest.mark.extended
def test_what_workers_start_from_does_not_hear_ctrl_c():
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("ended with 0\n", "")


ORPHAN = """
from atlas_pipeline.images.decoding_processes import _context

class Unreadable:
    def __reduce__(self):
        return exec, ("raise {error}",)

if __name__ == "__main__":
    worker = _context().Process(target=print, args=(Unreadable(),))
    worker.start()
    worker.join()
    print("exit code", worker.exitcode)
"""


@pytest.mark.extended
@pytest.mark.parametrize(("error", "is_told"), [("FileNotFoundError", False), ("ValueError", True)])
def test_a_worker_that_finds_nothing_of_its_parent_is_silent(error, is_told):
    script = ORPHAN.format(error=error)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout == "exit code 1\n"
    assert ended.stderr.endswith("ValueError\n" if is_told else "")
    assert ("Traceback" in ended.stderr) == is_told


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _num_images_in_daemon(queue, index, root):
    queue.put(sum(len(batch.image_id) for batch in image_batches(index, "folder", root, Geometry(), 0, 4, 2)))


def test_a_daemonic_process_decodes_itself(folder):
    context = decoding_processes._context()
    queue = context.SimpleQueue()
    process = context.Process(target=_num_images_in_daemon, args=(queue, *folder), daemon=True)
    process.start()
    assert queue.get() == 11
    process.join()
