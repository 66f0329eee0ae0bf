"""A finished patch test in the form that its report needs: outcomes, places, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from atlas_pipeline.engine.stage import Artefact, Job
from atlas_pipeline.patch_test.placement import CORNERS
from atlas_pipeline.tables.columns import column_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReportStepConfig:
    """left, right: logit and label. pictures: whether the report may show images."""

    model: Mapping[str, Any]
    labels: str | None
    left: tuple[int, str]
    right: tuple[int, str]
    sizes: Sequence[float]
    fixed_size: float
    num_patches: int
    seed: int
    pictures: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReportInputs:
    """The images of the run, and the artefacts of the patch test."""

    index: Artefact
    patches: Artefact
    patch_images: Artefact
    patch_answers: Artefact


PatchReportJob = Job[PatchReportStepConfig, PatchReportInputs]


@dataclass(frozen=True)
class PatchTest:
    """The inputs and the config of a report. A place is a size and a corner of the image."""

    job: PatchReportJob

    @cached_property
    def patches(self) -> list[dict[str, Any]]:
        """One row per patch: kind, rank, row, col, pull, image_id, patch (PNG)."""
        return self.job.inputs.patches.read().to_pylist()

    @property
    def kinds(self) -> list[str]:
        """The kind of each patch."""
        return [patch["kind"] for patch in self.patches]

    @property
    def images(self) -> Artefact:
        """The images that patches were pasted onto."""
        return self.job.inputs.patch_images

    @cached_property
    def places(self) -> list[tuple[float, str]]:
        """The size and corner of every place."""
        return [(size, corner) for size in self.job.config.sizes for corner in CORNERS]

    @property
    def fixed_place(self) -> int:
        """Index of the place that the figures for a fixed place refer to: the fixed size, first corner."""
        return self.places.index((self.job.config.fixed_size, CORNERS[0]))

    def place_names(self) -> list[str]:
        """The name of every place, such as ``30 %, top left``."""
        return [f"{100 * size:g} %, {corner}" for size, corner in self.places]

    @property
    def left(self) -> str:
        """The label of the left class."""
        return self.job.config.left[1]

    @property
    def right(self) -> str:
        """The label of the right class."""
        return self.job.config.right[1]

    @cached_property
    def becomes(self) -> np.ndarray:
        """Whether the answer becomes the right class: (patch, place, image) bool."""
        return self._outcomes[0]

    @cached_property
    def leaves(self) -> np.ndarray:
        """Whether the answer is no longer the left class: (patch, place, image) bool."""
        return self._outcomes[1]

    @cached_property
    def _outcomes(self) -> tuple[np.ndarray, np.ndarray]:
        left, right = self.job.config.left[0], self.job.config.right[0]
        becomes, leaves = [], []
        for part in self.job.inputs.patch_answers.parts(["answer"]):
            answer = column_matrix(part, "answer")
            becomes.append(answer == right)
            leaves.append(answer != left)
        shape = (len(self.patches), len(self.places), -1)
        return np.concatenate(becomes).T.reshape(shape), np.concatenate(leaves).T.reshape(shape)


def cell_name(patch: Mapping[str, Any]) -> str:
    """The name of a patch's cell by row and column, such as ``cell 3, 7``."""
    return f"cell {patch['row']}, {patch['col']}"
