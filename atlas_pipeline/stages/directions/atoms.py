"""atoms: find directions whose sums make up a layer's activations, or read those of a sparse autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, MemoryNeed, Needs, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.spec import file_digest
from atlas_pipeline.numerics.subset import random_subset
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.tables.decoder_file import decoder_atoms, decoder_path
from atlas_pipeline.tables.extent import Extent, if_large

# float32, and three copies in float64: the scaled activations, and those of the fit.
_NUMBER_BYTES = 4 + 3 * 8
# Draws for other purposes have other streams.
_STREAM, _ORDER_STREAM = 23, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomsConfig:
    """num_atoms, sparsity, fit_on, num_active: see `config.studies.DirectionsConfig`; None: not used.

    decoder: digest of the file, for ``method: file``.
    """

    method: str
    seed: int
    fit_on: int
    num_atoms: int | None = None
    sparsity: float | None = None
    num_active: int | None = None
    decoder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomsInputs:
    """The layer's activations."""

    sample: Artefact


AtomsJob = Job[AtomsConfig, AtomsInputs]


def _compute(task: Task, jobs: Sequence[AtomsJob], runtime: Runtime) -> list[Output]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    (job,) = jobs
    rows = _rows(job)
    # With one thread the bits do not depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        table, notes = _atoms(job, rows)
    runtime.advance(1)
    return [Output(table=table, notes={"method": job.config.method, "num_fitted": len(rows), **notes})]


def _rows(job: AtomsJob) -> np.ndarray:
    """The activations that atoms are fitted to, (activation, channel) float32, in a random order."""
    sample, config = job.inputs.sample, job.config
    chosen = random_subset(sample.num_rows, config.fit_on, config.seed, _STREAM)
    found, first = [], 0
    for part in sample.parts(["activation"]):
        inside = chosen[(chosen >= first) & (chosen < first + part.num_rows)] - first
        found.append(column_matrix(part, "activation")[inside].astype(np.float32))
        first += part.num_rows
    rows = np.concatenate(found)
    # Images are listed folder by folder; mini-batches must not be.
    keys = np.random.PCG64(np.random.SeedSequence([config.seed, _ORDER_STREAM])).random_raw(len(rows))
    return rows[np.argsort(keys, kind="stable")]


def _atoms(job: AtomsJob, rows: np.ndarray) -> tuple[pa.Table, dict[str, Any]]:
    from atlas_pipeline.numerics.atom_strengths import ROWS_AT_ONCE, strengths_of
    from atlas_pipeline.numerics.atoms import AtomsError, Method, fit_atoms, least_left

    config = job.config
    if config.method == "file":
        atoms = decoder_atoms(job.settings["decoder"], rows.shape[1], str(job.layer))
    else:
        method: Method = "nmf" if config.method == "nmf" else "dictionary"
        try:
            atoms = fit_atoms(rows, method, int(config.num_atoms or 0), config.seed, config.sparsity or 0.0)
        except AtomsError as error:
            raise ConfigError(f"directions, layer '{job.layer}': {error}") from error
    # The scale of an atom's strengths, fixed before the pass over all activations.
    total, squares, parts = (np.zeros(len(atoms)) for _ in range(3))
    for first in range(0, len(rows), ROWS_AT_ONCE):
        some = strengths_of(rows[first : first + ROWS_AT_ONCE], atoms, config.num_active)
        total += some.strength.sum(0)
        squares += np.square(some.strength).sum(0)
        parts += (some.part * some.energy[:, None]).sum(0)
    if config.method != "file":
        # Atom 0 carries most.
        order = np.argsort(-parts, kind="stable")
        atoms, total, squares = atoms[order], total[order], squares[order]
    mean = total / max(1, len(rows))
    table = pa.table(
        {
            "atom": np.arange(len(atoms), dtype=np.int32),
            "direction": matrix_column(atoms),
            "mean": mean,
            "sd": np.sqrt(np.maximum(squares / max(1, len(rows)) - mean**2, 0)),
        }
    )
    return table, {"least_left": least_left(rows, len(atoms))}


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    found: list[MemoryNeed] = []
    for step, extent in zip(steps, extents, strict=True):
        if extent is not None:
            num_fitted = min(step.config.fit_on, extent.num_rows)
            found.append(
                MemoryNeed(
                    f"fitting atoms to {num_fitted:,} activations",
                    num_fitted * extent.num_channels * _NUMBER_BYTES,
                    "lower directions.fit_on",
                )
            )
    return Needs(memory=tuple(need for one in found for need in if_large(one)))


ATOMS = Stage(
    name="atoms",
    version=1,
    config=AtomsConfig,
    inputs=AtomsInputs,
    unit="layers",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(
        Column("atom", pa.int32()),
        Column("direction", Vector((pa.float32(),), "channel")),
        Column("mean", pa.float64()),
        Column("sd", pa.float64()),
    ),
    commands=("directions",),
    needs=_needs,
)


def step(config: Config, sample: Step) -> Step:
    """The atoms of one layer.

    Raises: ConfigError: the decoder's file is not there.
    """
    section = config.directions
    assert section is not None
    settings: dict[str, Any] = {}
    decoder = None
    if section.method == "file":
        settings["decoder"] = decoder_path(section.file or "")
        decoder = file_digest(settings["decoder"])
    return Step(
        stage=ATOMS,
        config=AtomsConfig(
            method=section.method,
            seed=config.seed,
            fit_on=section.fit_on,
            num_atoms=None if decoder else section.num_atoms,
            sparsity=section.sparsity if section.method == "dictionary" else None,
            num_active=section.most_active,
            decoder=decoder,
        ),
        inputs={"sample": sample},
        settings=settings,
        layer=sample.layer,
    )
