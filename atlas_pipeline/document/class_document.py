"""The JSON document that accompanies a figure of one class."""

from __future__ import annotations

from typing import Any

import numpy as np

from atlas_pipeline.document.provenance import provenance
from atlas_pipeline.engine.stage import Job
from atlas_pipeline.models.network_name import has_random_weights, weights_note


def written(values: np.ndarray) -> list[float]:
    """Numbers for JSON: the shortest decimals that give the same float32 values."""
    return [float(str(value)) for value in np.asarray(values, dtype=np.float32)]


def document(job: Job, **body: Any) -> dict[str, Any]:
    """The JSON of a figure: the class, the body and the provenance, then the cells, which are many.

    Args: body: further entries of the document; ``cells`` is required.
    """
    model, cells = job.config.model, body.pop("cells")
    weights = {"weights": weights_note(model), "random_weights": has_random_weights(model)}
    return {
        "class": job.config.label,
        "class_index": job.config.class_,
        **body,
        "provenance": {**provenance(job), **weights},
        "cells": cells,
    }
