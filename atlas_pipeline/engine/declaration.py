"""The parts of a stage's declaration: config and inputs as dataclasses, columns, files, needs.

Each stage defines frozen dataclasses for its config and its inputs. The engine turns a config into plain
values (for fingerprints and manifests) and inputs into roles (for the graph of steps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

import pyarrow as pa


def plain_config(config: Any) -> Mapping[str, Any]:
    """A config as plain values, for fingerprints and manifests.

    A field that holds its default is left out, so that artefacts stay valid when a stage gets a new option.
    A trailing underscore in a name (``class_``) is dropped.

    Args: config: a dataclass, or a mapping, which is returned unchanged.
    """
    if isinstance(config, Mapping):
        return config
    values = {f.name: getattr(config, f.name) for f in fields(config) if not _holds_default(config, f)}
    return {
        name.removesuffix("_"): plain_config(value) if is_dataclass(value) else value
        for name, value in values.items()
    }


def _holds_default(config: Any, config_field: Field[Any]) -> bool:
    default = config_field.default
    return default is not MISSING and bool(getattr(config, config_field.name) == default)


def many(role: str) -> Any:
    """A field of an inputs dataclass that collects the roles ``"<role> <key>"`` into a mapping by key."""
    return field(default_factory=dict, metadata={"many": role})


def bind(inputs: type[Any] | None, by_role: Mapping[str, Any]) -> Any:
    """Build an inputs dataclass from a mapping by role; without a dataclass, return the mapping.

    Raises: TypeError: the dataclass lacks a role of the mapping, or a role is missing.
    """
    if inputs is None:
        return by_role
    left, values = dict(by_role), dict[str, Any]()
    for item in fields(inputs):
        if role := item.metadata.get("many"):
            keys = [key for key in left if key.startswith(f"{role} ")]
            values[item.name] = {key.removeprefix(f"{role} "): left.pop(key) for key in keys}
        elif item.name in left:
            values[item.name] = left.pop(item.name)
    if left:
        raise TypeError(f"{inputs.__name__} has no role {', '.join(left)}")
    return inputs(**values)


def by_role(inputs: Any) -> Mapping[str, Any]:
    """The inverse of `bind`: the inputs of a dataclass by role; inputs that are None are left out."""
    if isinstance(inputs, Mapping):
        return inputs
    roles = dict[str, Any]()
    for item in fields(inputs):
        value = getattr(inputs, item.name)
        if role := item.metadata.get("many"):
            roles |= {f"{role} {key}": each for key, each in value.items()}
        elif value is not None:
            roles[item.name] = value
    return roles


@dataclass(frozen=True, slots=True)
class Vector:
    """The type of a column of vectors, all of one length that is known only when the table is made.

    Attributes: types: allowed types of an element. axis: name of the vector's axis, e.g. ``channel``.
    """

    types: tuple[pa.DataType, ...]
    axis: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a stage's table. optional: artefacts of the stage may lack it."""

    name: str
    type: pa.DataType | Vector
    optional: bool = False

    def takes(self, found: pa.DataType) -> bool:
        """Whether a column of type ``found`` matches the declaration."""
        if not isinstance(self.type, Vector):
            return bool(found.equals(self.type))
        return pa.types.is_fixed_size_list(found) and found.value_type in self.type.types


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of a schema, for tables whose types are all known beforehand."""
    return tuple(Column(item.name, item.type) for item in schema)


def check_columns(stage: str, columns: Sequence[Column], found: pa.Schema) -> None:
    """Refuse a table whose columns differ from the declaration; without declared columns any table passes.

    Raises: TypeError: the stage has a fault: a column is missing, undeclared, or of another type.
    """
    if not columns:
        return
    declared = {column.name: column for column in columns}
    missing = [c.name for c in columns if not c.optional and c.name not in found.names]
    faults = [f"'{name}' is missing" for name in missing]
    for item in found:
        if item.name not in declared:
            faults.append(f"'{item.name}' is not declared")
        elif not declared[item.name].takes(item.type):
            faults.append(f"'{item.name}' is {item.type}, declared as {declared[item.name].type}")
    if faults:
        raise TypeError(f"the table of {stage} is not as its stage declares: {'; '.join(faults)}")


FILES = (Column("file", pa.string()), Column("content", pa.large_binary()))
"""The columns of a stage that makes files for users; `Stage.publishes` says where the files go."""


class Publishes(Enum):
    """Where the files of a stage go in a run's folder, and which pages show them."""

    ATLAS = "atlas"
    """The picture and JSON of an atlas, listed in the report and on the overview page."""
    PICTURE = "picture"
    """Pictures beside an atlas, also shown on its overview page."""
    FIGURE = "figure"
    """A picture with its own entry in the report."""
    FILE = "file"
    """Files beside an atlas that none of our pages shows."""
    VIEWER = "viewer"
    """Files that the viewer's page loads."""


@dataclass(frozen=True, slots=True)
class ViewerFacts:
    """Facts about an artefact for the viewer: keys added to those of its run, its view and its grid."""

    run: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The peak memory of a task.

    Attributes:
        task: description of the task; needs with equal descriptions are one task, and the largest counts.
        remedy: advice on how to lower the need.
    """

    task: str
    num_bytes: int
    remedy: str


@dataclass(frozen=True, slots=True)
class Needs:
    """Resources that steps will need.

    Attributes: disk_bytes: bytes still to be written, uncompressed. warnings: lines on results that the steps
                will lack, said before the work starts.
    """

    disk_bytes: int = 0
    memory: tuple[MemoryNeed, ...] = ()
    warnings: tuple[str, ...] = ()
