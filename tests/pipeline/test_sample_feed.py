"""Sampling reads the next batch and gathers the last one's rows while a batch computes."""

from __future__ import annotations

import multiprocessing
import threading
from types import SimpleNamespace

import pytest

from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.images.listing import list_images
from atlas_pipeline.models import ModelSpec
from atlas_pipeline.models.layer_samples import Arriving
from atlas_pipeline.stages.sampling import sample
from atlas_pipeline.tables.layer_shard import LayerShard

NUM_IMAGES = 11


@pytest.fixture
def compute(small):
    """`compute(workers)`: the tables of two layers of one task, in batches of three images."""
    index = list_images("generated", None, NUM_IMAGES, seed=0)
    artefact = SimpleNamespace(num_rows=NUM_IMAGES, rows=lambda start, stop: index.slice(start, stop - start))
    settings = SimpleNamespace(
        model=ModelSpec(source="python", name=small["model"]["name"]),
        source="generated",
        path=None,
        root=None,
        seed=0,
        max_bad=0.0,
        label_column=None,
    )
    jobs = [
        SimpleNamespace(
            config=sample.SampleStepConfig(
                model={},
                layer=layer,
                seed=0,
                positions_per_image=2,
                edge=1,
                attribution="all",
                maxpool_gradient="exact",
                shard_size=NUM_IMAGES,
            ),
            settings=settings,
            inputs=sample.SampleInputs(index=artefact),
        )
        for layer in ("0", "4")
    ]

    def tables(workers):
        runtime = Runtime(device="cpu", batch_size=3, workers=workers)
        outputs = sample._compute({"start": 0, "stop": NUM_IMAGES}, jobs, runtime)
        return [output.table for output in outputs]

    return tables


def helpers():
    names = ("read-ahead", "gather-rows")
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(names)]
    return multiprocessing.active_children() + threads


def test_rows_are_the_same_with_and_without_decoding_processes(compute):
    alone, helped = compute(0), compute(1)
    assert alone == helped
    assert all(table["image_id"].to_pylist() == [i // 2 for i in range(2 * NUM_IMAGES)] for table in helped)
    assert helpers() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_while_computing_ends_the_helpers(compute, monkeypatch, error):
    seen = []

    def fail(*_):
        seen.append(len(helpers()))
        raise error

    monkeypatch.setattr(sample, "add_batch", fail)
    # The error and its traceback are kept here, as an executor keeps the error of a task.
    with pytest.raises(error) as kept:
        compute(1)
    assert seen[0] >= 2
    assert helpers() == []
    assert kept.value is not None


def test_the_next_batch_starts_before_the_rows_of_the_last_are_waited_for(compute, monkeypatch):
    num_started, two_started = [], threading.Event()
    add_batch, wait = sample.add_batch, Arriving.wait

    def started(*args):
        num_started.append(None)
        if len(num_started) == 2:
            two_started.set()
        return add_batch(*args)

    def waited(arriving):
        assert two_started.wait(20)
        return wait(arriving)

    wanted = compute(0)
    monkeypatch.setattr(sample, "add_batch", started)
    monkeypatch.setattr(Arriving, "wait", waited)
    assert compute(0) == wanted


def test_an_error_while_gathering_reaches_the_caller(compute, monkeypatch):
    gather = LayerShard.gather

    def fail_in_thread(shard, coming):
        if threading.current_thread().name.startswith("gather-rows"):
            raise MemoryError("no room")
        gather(shard, coming)

    monkeypatch.setattr(LayerShard, "gather", fail_in_thread)
    with pytest.raises(MemoryError, match="no room"):
        compute(0)
    assert helpers() == []
