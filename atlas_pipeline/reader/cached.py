"""Reads what only the workspace's cache holds, by the fingerprints in an atlas's provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.errors import MissingInputError
from atlas_pipeline.reader.file_names import RunFiles
from atlas_pipeline.reader.viewer_values import label_names

if TYPE_CHECKING:
    import pandas as pd

    from atlas_pipeline.engine.artefact import StoredArtefact


def read_layout(files: RunFiles, inputs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The activations of a layout, in order: image_id, row, col, x, y, label, label_name.

    Args:   inputs: from the atlas's provenance: role -> stage and fingerprint.
    Raises: MissingInputError: the run is an archive, or the cache no longer has the artefacts.
    """
    import pandas as pd

    columns = ["image_id", "row", "col", "x", "y"]
    layout = _artefact(files, inputs["project"]).read(columns).to_pandas()
    index = _artefact(files, inputs["index"]).read(["image_id", "label"]).to_pandas()
    label = layout["image_id"].map(index.set_index("image_id")["label"])
    names = np.array([*label_names(files), None], dtype=object)
    number = label.to_numpy()
    is_named = (number >= 0) & (number < len(names) - 1)
    # Without the dtype, pandas would turn None into NaN.
    label_name = pd.Series(names[np.where(is_named, number, -1)], index=layout.index, dtype=object)
    return layout.assign(label=label, label_name=label_name)


def read_means(
    files: RunFiles, inputs: Mapping[str, Mapping[str, Any]], column: str, cells: pd.DataFrame
) -> tuple[NDArray[np.float32], StoredArtefact]:
    """A mean of each cell, ``activation`` or ``attribution``: (cell, value), and the artefact that holds it.

    Args:   inputs: from the atlas's provenance. cells: their ``row`` and ``col``.
    Raises: MissingInputError: the run is an archive, the cache no longer has it, or it was never computed.
    """
    artefact = _artefact(files, inputs["bin"])
    if column not in artefact.schema.names:
        raise MissingInputError(f"the run has no {column}s: it was sampled with sample.{column}: none")
    table = artefact.read(["row", "col", column])
    places = zip(table["row"].to_pylist(), table["col"].to_pylist(), strict=True)
    number = {place: n for n, place in enumerate(places)}
    values = table[column].combine_chunks().flatten().to_numpy().reshape(len(number), -1)
    asked = zip(cells["row"].tolist(), cells["col"].tolist(), strict=True)
    return values[[number[place] for place in asked]], artefact


def _artefact(files: RunFiles, source: Mapping[str, Any]) -> StoredArtefact:
    from atlas_pipeline.engine.manifest import read_manifest
    from atlas_pipeline.engine.store import Store

    if files.folder is None:
        raise MissingInputError(
            "an archive holds no layouts, means and attributions; open the run in its workspace"
        )
    # Not parents[1]: a run that was unpacked to /made, outside a workspace, has only one parent.
    store = Store(files.folder.absolute().parent.parent)
    folder = store.folder(source["stage"], source["fingerprint"])
    manifest = read_manifest(folder)
    if manifest is None:
        raise MissingInputError(f"{folder} is not there any more; make it with: atlas run")
    return store.artefact(manifest)
