"""unit_examples: merge the parts of the pass into the numbers and the examples of each unit of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.unit_state import merge
from atlas_pipeline.tables.unit_table import STATE_COLUMNS, state_columns, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitExamplesInputs:
    """The states of all parts of the pass."""

    values: Artefact


def _compute(task: Task, jobs: Sequence[Job[Any, UnitExamplesInputs]], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    values = job.inputs.values
    num_ranges = len(values.config["ranges"]) + 1
    state = merge(state_of(part, num_ranges) for part in values.parts())
    runtime.advance(1)
    table = pa.table({"unit": np.arange(len(state.least), dtype=np.int32), **state_columns(state)})
    return [Output(table=table, notes={"num_images": int(state.num_images.max(initial=0))})]


UNIT_EXAMPLES = Stage(
    name="unit_examples",
    version=1,
    inputs=UnitExamplesInputs,
    unit="layers",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(Column("unit", pa.int32()), *STATE_COLUMNS),
    commands=("units",),
)


def steps(values: Mapping[str, Step]) -> dict[str, Step]:
    """The merged numbers and examples of each layer."""
    return {
        layer: Step(stage=UNIT_EXAMPLES, config={}, inputs={"values": step}, layer=layer)
        for layer, step in values.items()
    }
