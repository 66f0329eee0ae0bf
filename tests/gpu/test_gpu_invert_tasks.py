"""Tasks of invert in one call on a pretended GPU: the parts of a CPU, and a fixed number of waits."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from pretended_cuda import pretended_cuda

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Job, Output, Runtime, Store
from atlas_pipeline.engine.survey import Survey
from atlas_pipeline.models import network_cache
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.stages.atlas import invert
from atlas_pipeline.stages.atlas.invert import INVERT
from atlas_pipeline.tables.artefact_cache import OncePerArtefact


@pytest.fixture
def job(small: dict[str, Any], finished: Callable[..., Any]) -> Iterator[Job]:
    """The job of a grid whose icons start from those of a coarser one."""
    small["grid"] = {"sizes": [2, 4], "min_count": 2}
    small["invert"] |= {"steps": 3, "warm_steps": 2}
    config = Config.model_validate(finished(small))
    step = [step for step in steps_of(config) if step.stage.name == INVERT.name][-1]
    found = Survey(Store(config.run.workspace)).job(step)
    assert found is not None
    network_cache._open.cache_clear()
    network_cache._cut.cache_clear()
    yield found
    # The pretended GPU's tensors must not outlive it.
    network_cache._open.cache_clear()
    network_cache._cut.cache_clear()


def tasks_of(job: Job, size: int) -> list[dict[str, int]]:
    num_cells = job.inputs.bin.num_rows
    return [{"start": at, "stop": min(at + size, num_cells)} for at in range(0, num_cells, size)]


def rows(outputs: Sequence[Sequence[Output]]) -> list[dict[str, Any]]:
    return [row for (output,) in outputs for row in output.table.to_pylist()]


def test_tasks_of_one_call_give_the_parts_of_a_cpu(job, monkeypatch):
    tasks = tasks_of(job, 2)
    there = [INVERT.compute(task, [job], Runtime(device="cpu")) for task in tasks]
    monkeypatch.setattr(invert, "_unit_means", OncePerArtefact(invert._unit_means.function, keep=1))
    with pretended_cuda() as log:
        here = INVERT.compute_together(tasks, [job], Runtime(device="cuda"))
        assert log.launches_of("convolution") > 0
    assert len(here) == len(there) > 2
    for ours, theirs in zip(rows(here), rows(there), strict=True):
        for name in ("row", "col", "steps", "round_trip"):
            assert ours[name] == theirs[name]
        for name in ("fidelity", "noise", "spectrum_distance", "objective"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3)


def test_more_tasks_in_a_call_wait_no_more_often(job, monkeypatch):
    waits = []
    for num in (1, 3):
        monkeypatch.setattr(invert, "_unit_means", OncePerArtefact(invert._unit_means.function, keep=1))
        network_cache._open.cache_clear()
        network_cache._cut.cache_clear()
        with pretended_cuda() as log:
            INVERT.compute_together(tasks_of(job, 1)[:num], [job], Runtime(device="cuda"))
            waits.append(Counter(log.waits))
    assert waits[1] == waits[0]
    assert np.sum(list(waits[0].values())) > 0
