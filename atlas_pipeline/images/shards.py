"""Parquet shards of images: the files, and the columns for bytes, path and label.

Supported layouts: Hugging Face's (a struct ``image`` of ``bytes`` and ``path``), and a plain column of bytes.
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
from atlas_pipeline.images.folder_files import shard_files
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.remedy import remedy
from atlas_pipeline.images.sources import SOURCES
from atlas_pipeline.images.walk import by_components

USUAL_NAMES = ("image", "img", "image_bytes", "bytes", "jpg", "jpeg", "png", "webp", "data")
# Columns that may hold labels: suggested to the user, never used unasked.
LIKELY_LABELS = frozenset(
    {"labels", "fine_label", "coarse_label", "class", "cls", "class_id", "class_name", "class_label"}
    | {"label_id", "label_name", "category", "category_id", "target", "targets", "species", "synset", "y"}
)
READ_AHEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Dotted paths of a shard's columns; None where there is none."""

    image: str
    path: str | None
    label: str | None
    label_is_text: bool

    def __str__(self) -> str:
        kind = " (text)" if self.label_is_text else ""
        return f"image '{self.image}', path {self.path or '-'}, label {self.label or '-'}{kind}"


def shard_root(path: str) -> Path:
    """The folder to which the files of a listing are relative.

    For a glob, this is the part before its first wildcard.
    """
    expanded = Path(path).expanduser()
    if expanded.is_dir():
        return expanded
    if expanded.exists() or not glob.has_magic(str(expanded)):
        return expanded.parent
    first = next(i for i, part in enumerate(expanded.parts) if glob.has_magic(part))
    return Path(*expanded.parts[:first])


def find_shards(path: str, source: str) -> tuple[Path, list[str]]:
    """Find the root and the files of a shard, a folder of shards or a glob.

    Args:    source: parquet or tar, which decides on the files in a folder that are shards.
    Returns: the root; the files relative to it, with '/', sorted by their components.
    Raises:  ImagesError: nothing there, or no match.
    """
    root, expanded = shard_root(path), Path(path).expanduser()
    if expanded.is_dir():
        files, _ = shard_files(root, SOURCES[source].extensions)
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


def beside_shards(path: str, source: str) -> LeftOut:
    """Other files in a folder of shards; none if ``path`` is a shard or a glob."""
    folder = Path(path).expanduser()
    return shard_files(folder, SOURCES[source].extensions)[1] if folder.is_dir() else LeftOut()


def stamp_lines(path: str, source: str) -> list[str]:
    """Lines with names, sizes and mtimes in ns, which change with the shards and the files beside them.

    Raises: ImagesError: as for ``find_shards``.
    """
    root, files = find_shards(path, source)
    status = [(root / file).stat() for file in files]
    lines = [f"{f}\0{s.st_size}\0{s.st_mtime_ns}" for f, s in zip(files, status, strict=True)]
    if beside := beside_shards(path, source):
        lines.append(json.dumps(beside.notes()))
    return lines


def open_shard(root: Path, file: str) -> pq.ParquetFile:
    """Open a shard for reading piece by piece.

    Raises: ImagesError: the shard is gone, or is no complete Parquet file.
    """
    try:
        # Stream column chunks, which may be gigabytes, instead of reading them ahead.
        return pq.ParquetFile(root / file, pre_buffer=False, buffer_size=READ_AHEAD_BYTES)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(root, file, error) from error


def unreadable(root: Path, file: str, error: Exception) -> ImagesError:
    """The error for a shard that cannot be read."""
    reason = str(error).partition("\n")[0].partition(". ")[0]
    return ImagesError(f"shard '{root / file}' cannot be read ({reason}); copy it anew or remove it")


def image_columns(schema: pa.Schema, file: str) -> tuple[str, str | None]:
    """Dotted paths of the columns with the images' bytes and paths; the second is None without paths.

    Raises: ImagesError: no column of images (the message lists all columns), or more than one candidate.
    """
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    binaries = [f.name for f in schema if _is_binary(f.type)]
    name = _choose(structs + binaries, schema, file)
    if name not in structs:
        return name, None
    has_path = schema.field(name).type.get_field_index("path") >= 0
    return f"{name}.bytes", f"{name}.path" if has_path else None


def find_columns(schema: pa.Schema, file: str, label_column: str | None = None) -> Columns:
    """Find the columns of the image's bytes, its path and its label.

    Args:   label_column: None: ``label``, or else the only column that Hugging Face's ``datasets`` declares
            as a ClassLabel. With neither, or with several declared, the shard has no labels.
    Raises: ImagesError: as for ``image_columns``; no such label column; labels neither integer nor text.
    """
    image, path = image_columns(schema, file)
    label = label_column or usual_label(schema)
    if label is None:
        return Columns(image, path, label=None, label_is_text=False)
    if label not in schema.names:
        remedy = f"correct images.label_column; its columns: {', '.join(schema.names)}"
        raise ImagesError(unknown_name("column", label, schema.names, f"'{file}'", remedy))
    label_type = schema.field(label).type
    is_text = _is_text(label_type)
    if not is_text and not _is_integer(label_type):
        raise ImagesError(
            f"column '{label}' of '{file}' is {label_type}, neither integer nor text; convert it, or name "
            f"another with images.label_column"
        )
    return Columns(image, path, label=label, label_is_text=is_text)


def usual_label(schema: pa.Schema) -> str | None:
    """The label column if the config names none; None if there is none or several are possible."""
    if "label" in schema.names:
        return "label"
    declared = _declared(schema)
    return next(iter(declared)) if len(declared) == 1 else None


def remark_on_labels(schema: pa.Schema) -> str | None:
    """A remark if the config names no label column and none is used; None if one is used."""
    if usual_label(schema):
        return None
    likely = list(_declared(schema)) or [
        f.name
        for f in schema
        if f.name.lower() in LIKELY_LABELS and (_is_text(f.type) or _is_integer(f.type))
    ]
    if likely:
        return (
            f"the shards' labels are not used: there is no column 'label', and which of {', '.join(likely)} "
            "is meant is not clear; set images.label_column"
        )
    return (
        f"the images have no labels: the shards have the columns {', '.join(schema.names)}; if one holds "
        "labels, set images.label_column"
    )


def _choose(candidates: Sequence[str], schema: pa.Schema, file: str) -> str:
    usual = [name for name in USUAL_NAMES if name in candidates]
    if usual or len(candidates) == 1:
        return (usual or list(candidates))[0]
    wanted = "Wanted: a struct of bytes and path, or a column of bytes"
    if candidates:
        raise ImagesError(
            f"columns {', '.join(candidates)} of '{file}' all hold bytes; rename the image column to 'image'"
        )
    names = schema.names
    columns = ", ".join(f"{field.name} ({_short(field.type)})" for field in schema)
    remedy = f"{wanted}; its columns: {columns}"
    if "image" in names:
        raise ImagesError(f"column 'image' of '{file}' does not hold bytes. {remedy}")
    raise ImagesError(unknown_name("column", "image", names, f"'{file}'", remedy))


def _short(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_short(kind.value_type)}"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def _is_binary(kind: pa.DataType) -> bool:
    is_ = pa.types
    return (
        is_.is_binary(kind)
        or is_.is_large_binary(kind)
        or is_.is_binary_view(kind)
        or is_.is_fixed_size_binary(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain(kind)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_integer(kind: pa.DataType) -> bool:
    return pa.types.is_integer(_plain(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def declared_names(schema: pa.Schema, column: str | None) -> list[str] | None:
    """Class names that Hugging Face's ``datasets`` declared in the schema for a column, or None."""
    return _declared(schema).get(column or "")


def _declared(schema: pa.Schema) -> dict[str, list[str]]:
    """Class names by column, for all columns that the schema declares as a ClassLabel."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        columns = {name: feature for name, feature in features.items() if name in schema.names}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    found = {}
    for column, feature in columns.items():
        names = feature.get("names") if isinstance(feature, dict) else None
        if isinstance(names, dict):  # by number, as in dataset cards
            names = [names[number] for number in sorted(names, key=int)]
        if isinstance(names, list):
            found[column] = [str(name) for name in names]
    return found
