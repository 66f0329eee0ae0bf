"""A stage in a user's own pipeline file gets its command, files and status from its declaration."""

import json
from pathlib import Path

import pytest

# The recipe in ARCHITECTURE.md, one file and one line in a pipeline, applied to a user's own file.
OWN_PIPELINE = """
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import FILES, Artefact, MemoryNeed, Needs, Output, Publishes, Stage, Step
from atlas_pipeline.stages.sampling import index, sample
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_table


@dataclass(frozen=True, kw_only=True)
class NormsConfig:
    num_bins: int
    cumulative: bool = False


@dataclass(frozen=True, kw_only=True)
class NormsInputs:
    sample: Artefact


def _compute(task, jobs, runtime):
    (job,) = jobs
    activation = column_matrix(job.inputs.sample.read(["activation"]), "activation").astype(np.float32)
    counts, edges = np.histogram(np.linalg.norm(activation, axis=1), job.config.num_bins)
    lines = [f"{edge:.3f},{count}" for edge, count in zip(edges, counts)]
    runtime.advance(len(activation))
    table = file_table({"norms.csv": "\\n".join(lines).encode()})
    return [Output(table=table, notes={"rows": len(activation)})]


NORMS = Stage(
    name="norms",
    version=1,
    inputs=NormsInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.sample.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=FILES,
    commands=("norms",),
    publishes=Publishes.FILE,
    needs=lambda steps, extents: Needs(
        sum(1000 * extent.num_rows for extent in extents),
        tuple(MemoryNeed(f"norms of {step.layer}", 5000, "sample fewer images") for step in steps),
    ),
    remarks=lambda step, artefact: [f"{step.layer}: norms of {artefact.notes['rows']} activations"],
)


def pipeline(config: Config) -> Iterator[Step]:
    images = index.step(config)
    samples = sample.steps(config, images)
    yield from (images, *samples.values())
    for layer, activations in samples.items():
        own = NormsConfig(num_bins=4)
        yield Step(stage=NORMS, config=own, inputs={"sample": activations}, layer=layer, view="all")
"""


@pytest.fixture
def mine(tmp_path) -> str:
    (tmp_path / "mine.py").write_text(OWN_PIPELINE)
    return str(tmp_path / "mine.py")


def test_a_stage_of_ones_own_has_its_command_file_needs_remarks_and_status(small, atlas, mine):
    result = atlas("norms", small, "--pipeline", mine)
    assert result.exit_code == 0, result.stderr
    # 60 activations of 1,000 bytes each, plus the sample.
    assert "the run will write up to 63.2 kB" in result.stderr
    assert "norms of 4 needs about 5.0 kB of memory" in result.stderr
    assert "4: norms of 60 activations" in result.stdout
    file = Path(small["run"]["workspace"]) / "runs" / "small" / "4" / "all" / "norms.csv"
    assert str(file) in result.stdout
    assert sum(int(line.split(",")[1]) for line in file.read_text().splitlines()) == 60
    states = json.loads(atlas("status", small, "--pipeline", mine, "--json").stdout)
    assert {state["stage"]: state["state"] for state in states}["norms"] == "done"


def test_a_run_of_ones_own_pipeline_publishes_and_cleans_up_like_ours(small, atlas, mine):
    assert atlas("run", small, "--pipeline", mine).exit_code == 0
    file = Path(small["run"]["workspace"]) / "runs" / "small" / "4" / "all" / "norms.csv"
    file.unlink()
    # A file missing from the run's folder is copied again without computing anything.
    again = atlas("run", small, "--pipeline", mine)
    assert "0 tasks run" in again.stdout
    assert file.is_file()


def test_a_command_that_no_stage_names_is_refused(small, atlas, mine, refused):
    refused(atlas("norm", small, "--pipeline", mine), "no stage of pipeline", "'norm'")
    result = atlas("norms", small)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no such command 'norms'; nearest: ")
    assert result.stderr.endswith("; see: atlas --help\n")


def test_an_option_left_at_its_default_leaves_a_stages_artefacts_alone(small, atlas, mine):
    """A field with a default is fingerprinted only where it has another value."""
    assert atlas("norms", small, "--pipeline", mine).exit_code == 0
    path = Path(mine)
    path.write_text(OWN_PIPELINE.replace("    cumulative: bool = False\n", ""))
    assert "0 tasks run" in atlas("norms", small, "--pipeline", mine).stdout
    path.write_text(
        OWN_PIPELINE.replace("NormsConfig(num_bins=4)", "NormsConfig(num_bins=4, cumulative=True)")
    )
    assert "1 task run" in atlas("norms", small, "--pipeline", mine).stdout


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("columns=FILES", "columns=(*FILES, FILES[0].__class__('more', FILES[0].type))", "'more' is missing"),
        (
            'inputs={"sample": activations}',
            'inputs={"samples": activations}',
            "NormsInputs has no role samples",
        ),
    ],
)
def test_a_declaration_that_does_not_hold_is_told(small, atlas, mine, before, after, said):
    path = Path(mine)
    path.write_text(OWN_PIPELINE.replace(before, after))
    result = atlas("norms", small, "--pipeline", mine)
    assert result.exit_code in (2, 3)
    assert said in result.stderr
