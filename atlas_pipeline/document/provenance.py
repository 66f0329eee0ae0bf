"""Provenance that pictures and documents carry: how they were made."""

from __future__ import annotations

import json
from typing import Any

from atlas_pipeline import __version__
from atlas_pipeline.engine.declaration import by_role, plain_config
from atlas_pipeline.engine.stage import Job
from atlas_pipeline.models.network_name import has_random_weights, model_title, weights_note


def provenance(job: Job) -> dict[str, Any]:
    """The software version, and the config and fingerprint of the job and of each of its inputs."""
    return {
        "software": f"atlas-pipeline {__version__}",
        "fingerprint": job.fingerprint,
        "config": dict(plain_config(job.config)),
        "inputs": {
            role: {
                "stage": a.stage,
                "fingerprint": a.fingerprint,
                "config": dict(a.config),
                "inputs": dict(a.inputs),
            }
            for role, a in by_role(job.inputs).items()
        },
    }


def picture_text(job: Job) -> dict[str, str]:
    """The provenance as text chunks of a PNG, keyword to value."""
    made = provenance(job)
    return {
        "Software": made["software"],
        "Title": " ".join(str(part) for part in (job.layer, job.view, job.grid) if part is not None),
        "Weights": weights_note(job.config.model),
        "Provenance": json.dumps(made, sort_keys=True, ensure_ascii=True),
    }


def random_weights_caption(job: Job) -> str | None:
    """The caption that a picture of an untrained network must carry; None for a trained network."""
    model = job.config.model
    if not has_random_weights(model):
        return None
    return " - ".join([weights_note(model), model_title(model), *([job.layer] if job.layer else [])])
