"""How a picture or a document says how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atlas_pipeline import __version__
from atlas_pipeline.engine.stage import Job


def provenance(job: Job) -> dict[str, Any]:
    """What an output carries: version, config and fingerprint, its own and its inputs'."""
    return {
        "software": f"atlas-pipeline {__version__}",
        "fingerprint": job.fingerprint,
        "config": dict(job.config),
        "inputs": {
            role: {
                "stage": a.stage,
                "fingerprint": a.fingerprint,
                "config": dict(a.config),
                "inputs": dict(a.inputs),
            }
            for role, a in job.inputs.items()
        },
    }


def picture_text(job: Job) -> dict[str, str]:
    """The same as the text chunks of a PNG."""
    made = provenance(job)
    return {
        "Software": made["software"],
        "Title": " ".join(str(part) for part in (job.layer, job.view, job.grid) if part is not None),
        "Weights": weights_note(job.config["model"]),
        "Provenance": json.dumps(made, sort_keys=True, ensure_ascii=True),
    }


def has_random_weights(model: Mapping[str, Any]) -> bool:
    """Whether a model's identity says that nobody trained it."""
    return bool(model["weights"].get("random"))


def weights_note(model: Mapping[str, Any]) -> str:
    """Where the weights come from, in words."""
    weights = model["weights"]
    if has_random_weights(model):
        return f"RANDOM WEIGHTS (seed {weights['seed']})"
    if "sha256" in weights:
        taken = f", its '{weights['key']}'" if "key" in weights else ""
        return f"file with sha256 {weights['sha256'][:16]}{taken}"
    return str(weights.get("named", "as built by the model's own code"))


def model_title(model: Mapping[str, Any]) -> str:
    """The model's name as people call it."""
    return str(model.get("name") or model.get("attribute") or model["source"])


def random_weights_caption(job: Job) -> str | None:
    """What a picture of a network that nobody trained must say; None for a trained one."""
    model = job.config["model"]
    if not has_random_weights(model):
        return None
    return " - ".join([weights_note(model), model_title(model), *([job.layer] if job.layer else [])])
