"""Validation of an atlas document: against its JSON Schema, and for cells that are consistent."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from atlas_pipeline.measures import table

_TYPES: dict[str, dict[str, Any]] = {
    "cosine": {"$ref": "#/$defs/cosine"},
    "share": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "distance": {"type": ["number", "null"], "minimum": 0},
    "rank": {"type": ["integer", "null"], "minimum": 0},
    "ratio": {"$ref": "#/$defs/number"},
    "ratios": {"type": "array", "items": {"$ref": "#/$defs/number"}},
}
# A probability of one over the number of cells, so it is never 0 or null.
_CHANCE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}


def atlas_schema() -> dict[str, Any]:
    """The JSON Schema of an atlas document: ``atlas.schema.json`` plus the measures of the table."""
    text = resources.files(__package__).joinpath("atlas.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    cell, baselines = schema["$defs"]["cell"], schema["properties"]["baselines"]
    for measure in table.MEASURES:
        kind = _TYPES[measure.kind]
        cell["properties"][measure.name] = {**kind, "description": measure.description}
        for baseline in measure.baselines:
            bounds = _CHANCE if baseline.source == "chance" else kind
            baselines["properties"][baseline.name] = {**bounds, "description": baseline.description}
    cell["required"] += [measure.name for measure in table.MEASURES if measure.is_required]
    return schema


def document_problems(document: Any, most: int = 10) -> list[str]:
    """The problems of an atlas document, one line each; empty if it is valid.

    Checks the schema. If that holds, checks that cells lie inside the grid and are unique, that counts add
    up to at most the number of activations, and that ranks are below the number of cells.

    Args: most: largest number of problems to return.
    """
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(atlas_schema()).iter_errors(document), key=lambda e: e.json_path)
    if errors:
        return [f"{error.json_path}: {error.message[:200]}" for error in errors[:most]]
    cells, grid = document["cells"], document["grid"]
    places = [(cell["row"], cell["col"]) for cell in cells]
    problems = [f"cell {p} lies outside the grid of {grid} x {grid}" for p in places if max(p) >= grid]
    if len(set(places)) != len(places):
        problems.append("a cell is given twice")
    if sum(cell["count"] for cell in cells) > document["num_activations"]:
        problems.append(f"the cells count more than the {document['num_activations']} activations there are")
    if any((cell["round_trip"] or 0) >= len(cells) for cell in cells):
        problems.append(f"a round trip ranks beyond the {len(cells)} cells")
    return problems[:most]
