"""Reads a finished artefact by parts, row groups or row ranges; page checksums are verified."""

from __future__ import annotations

import errno
import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.engine.location import Location, source_of
from atlas_pipeline.engine.manifest import Manifest
from atlas_pipeline.engine.part import PartRecord
from atlas_pipeline.errors import CorruptArtefactError


@dataclass(frozen=True)
class StoredArtefact:
    """An `Artefact` in a store's folder. It is picklable: workers open the files themselves."""

    folder: Location
    manifest: Manifest

    @property
    def stage(self) -> str:
        return self.manifest.stage

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def config(self) -> Mapping[str, Any]:
        return self.manifest.config

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        return self.manifest.inputs

    @property
    def notes(self) -> Mapping[str, Any]:
        return self.manifest.notes

    @property
    def num_rows(self) -> int:
        return self.manifest.num_rows

    @property
    def num_parts(self) -> int:
        return len(self.manifest.parts)

    @property
    def digest(self) -> str:
        """32 hex digits over the bytes of the parts; they may change if the same artefact is made again."""
        digests = "\n".join(part.digest for part in self.manifest.parts)
        return hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all parts; where parts differ (float16 and float32), the wider type."""
        different = {part.schema: part for part in self.manifest.parts}.values()
        schemas = []
        for part in different:
            with self._opened(part) as file:
                schemas.append(file.schema_arrow.remove_metadata())
        return pa.unify_schemas(schemas, promote_options="permissive")

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows into memory."""
        return pa.concat_tables(self.parts(columns))

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Iterate over the parts in order, one table per part."""
        schema = self._columns(columns)
        for part in self.manifest.parts:
            yield self._read(part, schema, 0, part.rows)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Iterate over the row groups in order, one table per row group."""
        schema = self._columns(columns)
        for part in self.manifest.parts:
            with self._opened(part) as file:
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group, columns=schema.names).select(schema.names).cast(schema)

    def rows(self, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read rows [start, stop); opens only the parts and row groups that contain them.

        Raises: IndexError: the range is outside the artefact. CorruptArtefactError: a file is damaged.
        """
        if not 0 <= start <= stop <= self.num_rows:
            raise IndexError(f"rows {start} to {stop} of {self.num_rows}")
        schema = self._columns(columns)
        ends = list(accumulate(part.rows for part in self.manifest.parts))
        tables = []
        index = bisect_right(ends, start)
        while start < stop:
            part, end = self.manifest.parts[index], min(stop, ends[index])
            first = ends[index] - part.rows
            tables.append(self._read(part, schema, start - first, end - first))
            start, index = end, index + 1
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def _columns(self, columns: Sequence[str] | None) -> pa.Schema:
        schema = self.schema
        if columns is None:
            return schema
        if unknown := [name for name in columns if name not in schema.names]:
            # pyarrow silently ignores unknown columns.
            raise KeyError(f"{self.stage} has no column {unknown}; it has {schema.names}")
        return pa.schema([schema.field(name) for name in columns])

    def _read(self, part: PartRecord, schema: pa.Schema, start: int, stop: int) -> pa.Table:
        with self._opened(part) as file:
            ends = list(accumulate(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)))
            if ends[-1:] != [part.rows] and (part.rows or ends):
                raise OSError(f"{ends[-1:]} rows in place of {part.rows}")
            groups = [g for g, end in enumerate(ends) if end > start and (ends[g - 1] if g else 0) < stop]
            table = file.read_row_groups(groups, columns=schema.names)
            first = ends[groups[0] - 1] if groups and groups[0] else 0
            return table.slice(start - first, stop - start).select(schema.names).cast(schema)

    @contextmanager
    def _opened(self, part: PartRecord) -> Iterator[pq.ParquetFile]:
        path = self.folder / part.name
        # For a remote store, read the pages of a row group in few large requests.
        is_far = not isinstance(path, Path)
        try:
            with (
                source_of(path) as source,
                pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=is_far) as file,
            ):
                yield file
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # An error with an errno is a system problem (too many open files), unless the file is missing.
            if getattr(error, "errno", None) in (None, errno.ENOENT):
                raise CorruptArtefactError(f"{path} is damaged ({error})") from error
            raise
