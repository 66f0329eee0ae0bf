"""Parquet shards of images: which files, which columns hold the bytes, the path and the label.

Known layouts: Hugging Face's (a struct ``image`` of ``bytes`` and ``path``) and a plain column of bytes.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.errors import ImagesError, unknown_name
from atlas_pipeline.images.folder import SHARDS, by_components, remedy, walk_files

USUAL_NAMES = ("image", "img", "bytes", "jpg", "jpeg", "png", "webp", "data")
READ_AHEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a shard keeps what: dotted column paths, None where there is none."""

    image: str
    path: str | None
    label: str | None
    label_is_text: bool

    def __str__(self) -> str:
        kind = " (text)" if self.label_is_text else ""
        return f"image '{self.image}', path {self.path or '-'}, label {self.label or '-'}{kind}"


def shard_root(path: str) -> Path:
    """The folder that the files of a listing are relative to; of a glob: that before its first wildcard."""
    expanded = Path(path).expanduser()
    if expanded.is_dir():
        return expanded
    if expanded.exists() or not glob.has_magic(str(expanded)):
        return expanded.parent
    first = next(i for i, part in enumerate(expanded.parts) if glob.has_magic(part))
    return Path(*expanded.parts[:first])


def find_shards(path: str, source: str) -> tuple[Path, list[str]]:
    """Root and files of a shard, a folder of shards or a glob.

    Args:    source: parquet or tar: which files of a folder are shards.
    Returns: the root; the files relative to it, with '/', sorted by their components.
    Raises: ImagesError: nothing there, or nothing that matches.
    """
    root, expanded = shard_root(path), Path(path).expanduser()
    if expanded.is_dir():
        files = [key for key, _ in walk_files(root, SHARDS[source])]
    elif expanded.is_file():
        files = [expanded.name]
    elif glob.has_magic(str(expanded)):
        matches = (Path(match) for match in glob.glob(str(expanded), recursive=True))
        files = sorted((m.relative_to(root).as_posix() for m in matches if m.is_file()), key=by_components)
    else:
        raise ImagesError(f"images.path '{path}' does not exist; correct images.path")
    if not files:
        if expanded.is_dir():
            raise ImagesError(f"images.path '{path}' has no .{source} file below it; {remedy(path, source)}")
        raise ImagesError(f"images.path '{path}' matches no file; correct images.path")
    return root, files


def open_shard(root: Path, file: str) -> pq.ParquetFile:
    """Open a shard for reading it a piece at a time.

    Raises: ImagesError: it is gone, or no whole Parquet file.
    """
    try:
        # A column chunk may be gigabytes: streamed, not read ahead whole.
        return pq.ParquetFile(root / file, pre_buffer=False, buffer_size=READ_AHEAD_BYTES)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(root, file, error) from error


def unreadable(root: Path, file: str, error: Exception) -> ImagesError:
    """What to say of a shard that cannot be read."""
    reason = str(error).partition("\n")[0].partition(". ")[0]
    return ImagesError(f"shard '{root / file}' cannot be read ({reason}); copy it anew or remove it")


def find_columns(schema: pa.Schema, file: str) -> Columns:
    """Columns of the image's bytes, its path and its label.

    Raises: ImagesError: no column of images (all are named), more than one that could be it, or a label that
        is neither integer nor text.
    """
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    binaries = [f.name for f in schema if _is_binary(f.type)]
    name = _choose(structs + binaries, schema.names, file)
    image, path = name, None
    if name in structs:
        image = f"{name}.bytes"
        has_path = schema.field(name).type.get_field_index("path") >= 0
        path = f"{name}.path" if has_path else None
    if "label" not in schema.names:
        return Columns(image, path, label=None, label_is_text=False)
    label_type = schema.field("label").type
    is_text = _is_text(label_type)
    if not is_text and not pa.types.is_integer(label_type):
        raise ImagesError(
            f"column 'label' of '{file}' is {label_type}, neither integer nor text; convert or rename it"
        )
    return Columns(image, path, label="label", label_is_text=is_text)


def _choose(candidates: Sequence[str], names: Sequence[str], file: str) -> str:
    usual = [name for name in USUAL_NAMES if name in candidates]
    if usual or len(candidates) == 1:
        return (usual or list(candidates))[0]
    wanted = "Wanted: a struct of bytes and path, or a column of bytes"
    if candidates:
        raise ImagesError(
            f"columns {', '.join(candidates)} of '{file}' all hold bytes; rename the one of images to 'image'"
        )
    remedy = f"{wanted}; its columns: {', '.join(names)}"
    if "image" in names:
        raise ImagesError(f"column 'image' of '{file}' does not hold bytes. {remedy}")
    raise ImagesError(unknown_name("column", "image", names, f"'{file}'", remedy))


def _is_binary(kind: pa.DataType) -> bool:
    is_ = pa.types
    return (
        is_.is_binary(kind)
        or is_.is_large_binary(kind)
        or is_.is_binary_view(kind)
        or is_.is_fixed_size_binary(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def declared_names(schema: pa.Schema) -> list[str] | None:
    """Class names that Hugging Face's ``datasets`` wrote into the schema; None: it did not."""
    try:
        written = json.loads((schema.metadata or {})[b"huggingface"])
        names = written["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]
