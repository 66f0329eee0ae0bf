"""The icons' numbers do not depend on how cells are cut into tasks, nor on which tasks share a call."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Runtime, Store
from atlas_pipeline.engine.survey import Survey
from atlas_pipeline.inversion import batch_memory, icon_numbers
from atlas_pipeline.pictures import png_codec
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.stages.atlas import invert
from atlas_pipeline.stages.atlas.invert import INVERT
from atlas_pipeline.tables.artefact_cache import OncePerArtefact

RUNTIME = Runtime(device="cpu", batch_size=1)
KEPT = ("_cells", "_unit_means", "_whitening", "_real_crops", "_icon_files")


@pytest.fixture
def jobs(small, finished, monkeypatch):
    """The jobs of a coarse grid and of a finer one that starts from it, with nothing kept of other tests."""
    small["grid"] = {"sizes": [2, 4], "min_count": 2}
    small["invert"] |= {"steps": 3, "warm_steps": 2}
    config = Config.model_validate(finished(small))
    survey = Survey(Store(config.run.workspace))
    for name in KEPT:
        monkeypatch.setattr(invert, name, OncePerArtefact(getattr(invert, name).function, keep=2))
    steps = [step for step in steps_of(config) if step.stage.name == INVERT.name]
    return {step.grid: survey.job(step) for step in steps}


def cut(job, *ends):
    """Tasks that end at these cells."""
    num_cells = job.inputs.bin.num_rows
    starts = (0, *ends)
    return [{"start": start, "stop": stop} for start, stop in zip(starts, (*ends, num_cells), strict=True)]


# A product of one row, or a lone image, is summed in another order than several.
ROUNDED = (
    "fidelity",
    "fidelity_centred",
    "fidelity_whitened",
    "noise",
    "objective",
    "spectrum_distance",
    "colour_distance",
)


def table_of(outputs):
    """The rows of outputs, one after the other."""
    return pa.concat_tables([output.table for (output,) in outputs])


def assert_same(one, other):
    assert one.drop_columns(ROUNDED).equals(other.drop_columns(ROUNDED))
    for name in ROUNDED:
        # The objective is a logarithm: near 0, only absolute differences mean something.
        least = 5e-6 if name == "objective" else 0
        np.testing.assert_allclose(one[name].to_numpy(), other[name].to_numpy(), rtol=1e-5, atol=least)


@pytest.mark.parametrize(("grid", "alpha"), [(4, 0.0), (2, 1.0)])
def test_icons_and_numbers_are_the_same_however_tasks_are_cut_and_joined(jobs, grid, alpha, monkeypatch):
    job = jobs[grid]
    settings = {**job.config.invert, "alpha": alpha}
    job = replace(job, config=replace(job.config, invert=settings))
    num_cells = job.inputs.bin.num_rows
    whole = INVERT.compute({"start": 0, "stop": num_cells}, [job], RUNTIME)
    assert len(set(whole[0].table["icon"].to_pylist())) == num_cells >= 3
    notes, whole = whole[0].notes, table_of([whole])
    each = cut(job, *range(1, num_cells))
    alone = [INVERT.compute(task, [job], RUNTIME) for task in each]
    assert_same(table_of(alone), whole)
    assert_same(table_of(INVERT.compute_together(cut(job, 1), [job], RUNTIME)), whole)
    monkeypatch.setattr(batch_memory, "LARGEST_BATCH", 2)  # several batches, one after the other
    outputs = INVERT.compute_together(each, [job], RUNTIME)
    assert_same(table_of(outputs), whole)
    assert [output.table.num_rows for (output,) in outputs] == [1] * num_cells
    assert all(output.notes == notes for (output,) in (*alone, *outputs))
    assert_same(table_of(INVERT.compute_together([each[2], each[0]], [job], RUNTIME)), whole.take([2, 0]))


def test_what_tasks_share_is_read_and_measured_once(jobs, monkeypatch):
    job, read, measured = jobs[4], [], []
    artefact = type(job.inputs.bin)
    real = artefact.read

    def reading(self, columns=None):
        read.append((self.stage, self.fingerprint))
        return real(self, columns)

    def measuring(crops, num_threads=1):
        measured.append(len(crops))
        return icon_numbers.real_crops(crops, num_threads)

    monkeypatch.setattr(artefact, "read", reading)
    monkeypatch.setattr(invert, "real_crops", measuring)
    for task in cut(job, 1, 2):
        INVERT.compute(task, [job], RUNTIME)
    assert len(read) == len(set(read)) == 5
    assert len(measured) == 1


def test_an_icon_that_several_cells_start_from_is_decoded_once(jobs, monkeypatch):
    job, decoded, real = jobs[4], [], png_codec.picture_of

    def decoding(png):
        decoded.append(png)
        return real(png)

    monkeypatch.setattr(png_codec, "picture_of", decoding)
    means = invert._cells(job.inputs.bin).means
    start = invert._starts(job, np.concatenate([means, means]), 1).images
    assert len(decoded) == len(set(decoded)) <= job.inputs.coarser_bin.num_rows
    assert (start[: len(means)] == start[len(means) :]).all()


def test_a_grid_without_cells_starts_from_nothing(jobs):
    job = jobs[4]
    means = invert._cells(job.inputs.bin).means[:0]
    assert not len(invert._starts(job, means, 1).which)
    ((output,),) = INVERT.compute_together([{"start": 0, "stop": 0}], [job], RUNTIME)
    assert output.table.num_rows == 0


def test_an_error_with_finished_icons_keeps_its_type(jobs, monkeypatch):
    class OddError(Exception):
        pass

    def fail(images, num_threads):
        raise OddError("no luck")

    monkeypatch.setattr(invert, "pngs_of", fail)
    with pytest.raises(OddError, match="no luck"):
        INVERT.compute({"start": 0, "stop": 1}, [jobs[2]], RUNTIME)


@pytest.mark.parametrize(
    ("sizes", "largest", "batches"),
    [
        ([128] * 10, 1024, [5, 5]),
        ([128] * 8, 1024, [8]),
        ([3, 3], 2, [1, 1]),
        ([0], 1024, [1]),
        ([128] * 32, 1024, [8] * 4),
    ],
)
def test_tasks_of_a_call_make_the_fewest_equal_batches(sizes, largest, batches, monkeypatch):
    monkeypatch.setattr(batch_memory, "LARGEST_BATCH", largest)
    tasks = [{"start": 0, "stop": size} for size in sizes]
    assert [len(batch) for batch in invert._batches(tasks)] == batches
