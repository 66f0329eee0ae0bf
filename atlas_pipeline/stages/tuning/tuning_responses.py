"""tuning_responses: feed synthetic stimuli to every unit of a layer at once, in standard deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ModelError
from atlas_pipeline.images.generated.stimuli import Place, stimuli
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.tuning_table import opened_centre, stimulus_set

STIMULI_PER_TASK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResponsesConfig:
    """stimuli: the fields of `images.generated.stimuli.StimulusSet`."""

    model: Mapping[str, Any]
    layer: str
    stimuli: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningResponsesInputs:
    """The mean and deviation of each unit."""

    spread: Artefact


ResponsesJob = Job[TuningResponsesConfig, TuningResponsesInputs]


def _split(job: ResponsesJob) -> list[Task]:
    num = len(stimulus_set(job.config.stimuli))
    return [{"start": s, "stop": min(s + STIMULI_PER_TASK, num)} for s in range(0, num, STIMULI_PER_TASK)]


def _compute(task: Task, jobs: Sequence[ResponsesJob], runtime: Runtime) -> list[Output]:
    import torch

    (job,) = jobs
    layer, start, stop = job.config.layer, task["start"], task["stop"]
    centre = opened_centre(job.settings.model, layer, runtime.device)
    field = centre.field
    place = Place(side_px=centre.side_px, row=field.row, col=field.col, radius=field.radius)
    drawn = np.stack(list(stimuli(stimulus_set(job.config.stimuli), start, stop, place)))
    squares = torch.from_numpy(drawn).permute(0, 3, 1, 2)
    values = centre.of_many(squares, runtime.batch_size, runtime.advance).double().numpy()
    if not np.isfinite(values).all():
        raise ModelError(
            f"layer '{layer}' gives values that are not finite for a synthetic stimulus; look at the network "
            "with: atlas check CONFIG"
        )
    spread = job.inputs.spread.read(["mean", "sd"])
    mean, sd = (spread[name].to_numpy() for name in ("mean", "sd"))
    # A unit that never varies has no scale: its responses are 0, and it joins no family.
    deviations = np.divide(values - mean, sd, out=np.zeros_like(values), where=sd > 0)
    table = pa.table(
        {
            "stimulus": pa.array(np.arange(start, stop), pa.int32()),
            "response": matrix_column(deviations.astype(np.float32)),
        }
    )
    return [Output(table=table, notes={"place": asdict(place)})]


TUNING_RESPONSES = Stage(
    name="tuning_responses",
    version=1,
    config=TuningResponsesConfig,
    inputs=TuningResponsesInputs,
    unit="stimuli",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    # Every part measures the same place.
    summarise=lambda job, notes: next(iter(notes), {}),
    columns=(Column("stimulus", pa.int32()), Column("response", Vector((pa.float32(),), "unit"))),
    uses_device=True,
    commands=("tuning",),
    is_checked=True,
)


def steps(config: Config, spreads: Mapping[str, Step]) -> dict[str, Step]:
    """The responses of each layer's units."""
    tuning = config.tuning
    assert tuning is not None
    return {
        layer: Step(
            stage=TUNING_RESPONSES,
            config=TuningResponsesConfig(
                model=model_config(config),
                layer=layer,
                stimuli={
                    "num_orientations": tuning.num_orientations,
                    "curvatures": tuning.curvatures,
                    "corner_radii": tuning.corner_radii,
                    "stroke_width": tuning.stroke_width,
                },
            ),
            inputs={"spread": spread},
            settings=run_settings(config),
            layer=layer,
        )
        for layer, spread in spreads.items()
    }
