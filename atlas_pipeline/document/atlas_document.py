"""The JSON document of an atlas, made from the job's artefacts a block of cells at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from atlas_pipeline.document.atlas_json import atlas_head, baselines, document_json
from atlas_pipeline.document.cell_objects import Cells, cell_objects
from atlas_pipeline.document.provenance import provenance
from atlas_pipeline.engine.declaration import by_role
from atlas_pipeline.engine.stage import Artefact, Job
from atlas_pipeline.measures import table
from atlas_pipeline.models.network_name import has_random_weights, model_title, weights_note
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.image_keys import keys_of

# Attributions of this many cells to 1,000 classes take 32 MB, and the cells as Python objects another 60 MB.
CELLS_AT_ONCE = 8192


def document_pieces(job: Job, icon_px: int) -> Iterator[bytes]:
    """The JSON of the job's atlas, piece by piece.

    Args: job: its inputs are index, bin, invert, project and, where the run has them, select, yardsticks and
          judge. icon_px: side of a cell in the picture.
    """
    model, cells, icons = job.config.model, job.inputs.bin, job.inputs.invert
    yardsticks = job.inputs.yardsticks.notes if job.inputs.yardsticks else {}
    head = atlas_head(
        model=model_title(model),
        weights=weights_note(model),
        random_weights=has_random_weights(model),
        layer=str(job.layer),
        view=str(job.view),
        grid=int(job.config.grid),
        icon_px=icon_px,
        icon_shift_px=icons.notes["shift_px"],
        num_activations=job.inputs.project.num_rows,
        selection=_selection(job),
        layout=job.inputs.project.notes["quality"],
        baselines=baselines(
            cells.num_rows,
            _baseline_columns(job),
            real_crops=icons.notes["real_crops"] | yardsticks.get("real_crops", {}),
            noise=yardsticks.get("noise"),
        ),
        provenance=provenance(job),
        path_layers=yardsticks.get("path_layers"),
    )
    return document_json(head, _cells(job))


def _baseline_columns(job: Job) -> dict[str, np.ndarray]:
    """The columns whose medians are baselines, by measure: (cell,) each."""
    of = {baseline.of for measure in table.MEASURES for baseline in measure.baselines}
    named = [measure for measure in table.MEASURES if measure.name in of]
    inputs = by_role(job.inputs)
    return {m.name: inputs[m.source].read([m.name])[m.name].to_numpy() for m in named if m.source in inputs}


def _selection(job: Job) -> dict[str, Any] | None:
    """How the view's activations were selected: the config and notes of the select stage; None if all are."""
    if job.inputs.select is None:
        return None
    select = job.inputs.select
    return {**select.config, **select.notes}


def _cells(job: Job) -> Iterator[list[dict[str, Any]]]:
    from atlas_pipeline.models import class_labels

    cells = job.inputs.bin
    labels = class_labels(job.settings.model, cells.notes["num_classes"])
    keys = keys_of(job.inputs.index, _example_ids(cells).tolist())
    written = [name for name in cells.schema.names if name != "activation"]
    for start in range(0, cells.num_rows, CELLS_AT_ONCE):
        stop = min(start + CELLS_AT_ONCE, cells.num_rows)
        block = cells.rows(start, stop, written)
        columns = _columns(block, {"bin": block, **_of_icons(job, start, stop)}, keys)
        yield cell_objects(columns, labels, cells.notes["classes"])


def _of_icons(job: Job, start: int, stop: int) -> dict[str, pa.Table]:
    """The measures of the icons of cells [start, stop), by the stage that made them."""
    inputs, tables = by_role(job.inputs), dict[str, pa.Table]()
    for source in dict.fromkeys(measure.source for measure in table.MEASURES):
        if source != "bin" and source in inputs:
            names = [measure.name for measure in table.MEASURES if measure.source == source]
            tables[source] = inputs[source].rows(start, stop, names)
    return tables


def _columns(cells: pa.Table, tables: Mapping[str, pa.Table], keys: dict[int, str]) -> Cells:
    return Cells(
        row=cells["row"].to_numpy(),
        col=cells["col"].to_numpy(),
        count=cells["count"].to_numpy(),
        measures={
            measure.name: _values(tables[measure.source][measure.name])
            for measure in table.MEASURES
            if measure.source in tables and measure.name in tables[measure.source].column_names
        },
        examples=[
            [{**example, "key": keys[example["image_id"]]} for example in cell_examples]
            for cell_examples in cells["examples"].to_pylist()
        ],
        attribution=column_matrix(cells, "attribution") if "attribution" in cells.column_names else None,
    )


def _values(column: pa.ChunkedArray) -> ArrayLike:
    """A column of numbers as an array with NaN for what is not known, or a column of lists as lists."""
    is_list = pa.types.is_list(column.type)
    return cast(ArrayLike, column.to_pylist()) if is_list else column.to_numpy()


def _example_ids(cells: Artefact) -> np.ndarray:
    """(image,) unique ids of the images among the cells' examples, ascending."""
    examples: Sequence[pa.ListArray] = cells.read(["examples"])["examples"].chunks
    ids = [np.unique(chunk.flatten().field("image_id").to_numpy()) for chunk in examples]
    return np.unique(np.concatenate([np.empty(0, np.int64), *ids]))
