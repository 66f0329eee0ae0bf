"""Reads a layout from the workspace's cache, by the fingerprints in an atlas's provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atlas_pipeline.engine.location import Location
from atlas_pipeline.errors import MissingInputError

if TYPE_CHECKING:
    import pandas as pd

    from atlas_pipeline.engine.artefact import StoredArtefact


def read_layout(workspace: Location, inputs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The activations of a layout, in order: image_id, row, col, x, y, label.

    Args:   inputs: from the atlas's provenance: role -> stage and fingerprint.
    Raises: MissingInputError: the cache no longer has the artefacts.
    """
    layout = _artefact(workspace, inputs["project"]).read(["image_id", "row", "col", "x", "y"]).to_pandas()
    index = _artefact(workspace, inputs["index"]).read(["image_id", "label"]).to_pandas()
    return layout.assign(label=layout["image_id"].map(index.set_index("image_id")["label"]))


def _artefact(workspace: Location, source: Mapping[str, Any]) -> StoredArtefact:
    from atlas_pipeline.engine.manifest import read_manifest
    from atlas_pipeline.engine.store import Store

    store = Store(workspace)
    folder = store.folder(source["stage"], source["fingerprint"])
    manifest = read_manifest(folder)
    if manifest is None:
        raise MissingInputError(f"{folder} is not there any more; make it with: atlas run")
    return store.artefact(manifest)
