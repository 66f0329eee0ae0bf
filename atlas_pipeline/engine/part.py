"""A part of an artefact: a Parquet file whose footer records how it was made.

Footer keys: atlas.stage, atlas.version, atlas.fingerprint, atlas.config, atlas.inputs, atlas.task,
atlas.notes, atlas.package. The footer has no times, hosts or paths, so the same task gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.engine.atomic_files import atomic_file, file_digest
from atlas_pipeline.engine.declaration import by_role, plain_config
from atlas_pipeline.engine.fingerprint import canonical_json
from atlas_pipeline.engine.location import Location, full_source, source_of, state_of
from atlas_pipeline.engine.stage import Job, Notes, Stage, Task
from atlas_pipeline.errors import CorruptArtefactError

ROW_GROUP_ROWS = 8192
PACKAGE = "atlas-pipeline"

# Includes the task: the split may depend on a setting that is not fingerprinted (such as the shard size).
_TRUSTED = ("atlas.stage", "atlas.fingerprint", "atlas.task")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """A manifest's record of a part.

    digest: of the file's bytes. schema: digest of the column types. seconds: duration of the task that made
    it (shared with its siblings); None if an earlier run made it.
    """

    name: str
    rows: int
    bytes: int
    digest: str
    mtime_ns: int
    schema: str
    seconds: float | None = None


def part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def is_part(name: str) -> bool:
    return name.startswith("part-") and name.endswith(".parquet")


def provenance(stage: Stage, job: Job, task: Task) -> dict[str, str]:
    """The footer's content, without the notes."""
    inputs = {role: source.fingerprint for role, source in by_role(job.inputs).items()}
    return {
        "atlas.stage": stage.name,
        "atlas.version": str(stage.version),
        "atlas.fingerprint": job.fingerprint,
        "atlas.config": canonical_json(plain_config(job.config)),
        "atlas.inputs": canonical_json(inputs),
        "atlas.task": canonical_json(task),
    }


def write_part(
    path: Location, table: pa.Table | pa.RecordBatchReader, made: Mapping[str, str], notes: Notes
) -> PartRecord:
    """Write one part atomically.

    Raises: ResourceError: disk full, read-only or not permitted. TypeError: notes are not plain values.
    """
    footer = {**made, "atlas.notes": canonical_json(notes), "atlas.package": _package_version()}
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), **footer})
    num_rows = 0
    with atomic_file(path) as file:
        # Dictionaries only cost time on activations; page checksums detect flipped bytes when a page is read.
        with pq.ParquetWriter(
            file, schema, compression="zstd", use_dictionary=False, write_page_checksum=True
        ) as writer:
            for block in _blocks(table):
                writer.write_table(block, row_group_size=ROW_GROUP_ROWS)
                num_rows += block.num_rows
        num_bytes, digest = file.num_bytes, file.hexdigest()
    return PartRecord(
        name=path.name,
        rows=num_rows,
        bytes=num_bytes,
        digest=digest,
        mtime_ns=state_of(path).mtime_ns,
        schema=_schema_digest(_as_read_back(schema)),
    )


def _blocks(table: pa.Table | pa.RecordBatchReader) -> Iterator[pa.Table]:
    if isinstance(table, pa.Table):
        yield table
        return
    for batch in table:
        yield pa.Table.from_batches([batch])


def read_footer(path: Location) -> dict[str, str]:
    """Read the `atlas.` keys of a part's footer.

    Raises: CorruptArtefactError: the file is missing, truncated, or not Parquet.
    """
    try:
        with source_of(path) as source:
            found = pq.read_metadata(source).metadata or {}
        return {k.decode(): v.decode() for k, v in found.items() if k.startswith(b"atlas.")}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CorruptArtefactError(f"{path} cannot be read ({error})") from error


def is_trusted(path: Location, made: Mapping[str, str]) -> bool:
    """Whether a part without a manifest is complete (Parquet writes footers last) and has this provenance."""
    try:
        footer = read_footer(path)
    except CorruptArtefactError:
        return False
    return all(footer.get(key) == made[key] for key in _TRUSTED)


def footer_notes(path: Location) -> dict[str, Any]:
    return json.loads(read_footer(path)["atlas.notes"])


def adopt_part(path: Location) -> PartRecord:
    """Make the record of a part that an earlier run left without a manifest; reads every page to verify it.

    Raises: CorruptArtefactError: a page is damaged.
    """
    try:
        with pq.ParquetFile(full_source(path), page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
            rows, schema = file.metadata.num_rows, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise CorruptArtefactError(f"{path} is damaged ({error})") from error
    state = state_of(path)
    return PartRecord(
        name=path.name,
        rows=rows,
        bytes=state.num_bytes,
        digest=file_digest(path),
        mtime_ns=state.mtime_ns,
        schema=_schema_digest(schema),
    )


def _as_read_back(schema: pa.Schema) -> pa.Schema:
    """The schema after a round trip, as a later run sees it: Parquet renames the items of lists."""
    buffer = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), buffer)
    return pq.read_schema(pa.BufferReader(buffer.getvalue()))


def _schema_digest(schema: pa.Schema) -> str:
    text = schema.remove_metadata().to_string(show_field_metadata=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@cache
def _package_version() -> str:
    try:
        return f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return PACKAGE
