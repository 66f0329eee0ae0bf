"""The parts of a stage's declaration: config and inputs as dataclasses, columns, files, needs.

A stage's config and inputs are frozen dataclasses of its own. The engine turns them into plain values (for
fingerprints and manifests) and roles (for the graph of steps), and knows nothing else about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

import pyarrow as pa


def plain_config(config: Any) -> Mapping[str, Any]:
    """A config as plain values: what is fingerprinted and written down.

    A field with a default is left out while it holds that default, so that a new option of a stage leaves
    the artefacts made before it as they are. A trailing underscore of a name (``class_``) is dropped.

    Args: config: a dataclass, or a mapping, which is returned as it is.
    """
    if isinstance(config, Mapping):
        return config
    values = {f.name: getattr(config, f.name) for f in fields(config) if not _holds_default(config, f)}
    return {
        name.removesuffix("_"): plain_config(value) if is_dataclass(value) else value
        for name, value in values.items()
    }


def _holds_default(config: Any, of: Field[Any]) -> bool:
    return of.default is not MISSING and bool(getattr(config, of.name) == of.default)


def many(role: str) -> Any:
    """A field of an inputs dataclass that collects the roles ``"<role> <key>"`` into a mapping by key."""
    return field(default_factory=dict, metadata={"many": role})


def bind(inputs: type[Any] | None, by_role: Mapping[str, Any]) -> Any:
    """An inputs dataclass of what a mapping has by role; the mapping itself where there is no dataclass.

    Raises: TypeError: a role that the dataclass does not have, or one that is missing.
    """
    if inputs is None:
        return by_role
    left, values = dict(by_role), dict[str, Any]()
    for of in fields(inputs):
        if role := of.metadata.get("many"):
            keys = [key for key in left if key.startswith(f"{role} ")]
            values[of.name] = {key.removeprefix(f"{role} "): left.pop(key) for key in keys}
        elif of.name in left:
            values[of.name] = left.pop(of.name)
    if left:
        raise TypeError(f"{inputs.__name__} has no role {', '.join(left)}")
    return inputs(**values)


def by_role(inputs: Any) -> Mapping[str, Any]:
    """The inverse of `bind`: what an inputs dataclass holds, by role; inputs that are None are left out."""
    if isinstance(inputs, Mapping):
        return inputs
    roles = dict[str, Any]()
    for of in fields(inputs):
        value = getattr(inputs, of.name)
        if role := of.metadata.get("many"):
            roles |= {f"{role} {key}": each for key, each in value.items()}
        elif value is not None:
            roles[of.name] = value
    return roles


@dataclass(frozen=True, slots=True)
class Vector:
    """The type of a column of equally long lists whose length is known only when it is made.

    Attributes: types: of an element. axis: what an element is, e.g. ``channel``.
    """

    types: tuple[pa.DataType, ...]
    axis: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a stage's table. optional: some artefacts of the stage are without it."""

    name: str
    type: pa.DataType | Vector
    optional: bool = False

    def takes(self, found: pa.DataType) -> bool:
        """Whether a column of this type is as declared."""
        if not isinstance(self.type, Vector):
            return bool(found.equals(self.type))
        return pa.types.is_fixed_size_list(found) and found.value_type in self.type.types


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of a table whose types are all known beforehand."""
    return tuple(Column(of.name, of.type) for of in schema)


def check_columns(stage: str, columns: Sequence[Column], found: pa.Schema) -> None:
    """Refuse a table whose columns are not as declared; without a declaration everything passes.

    Raises: TypeError: a column is missing, not declared, or of another type: a fault of the stage.
    """
    if not columns:
        return
    declared = {column.name: column for column in columns}
    missing = [c.name for c in columns if not c.optional and c.name not in found.names]
    faults = [f"'{name}' is missing" for name in missing]
    for of in found:
        if of.name not in declared:
            faults.append(f"'{of.name}' is not declared")
        elif not declared[of.name].takes(of.type):
            faults.append(f"'{of.name}' is {of.type}, declared as {declared[of.name].type}")
    if faults:
        raise TypeError(f"the table of {stage} is not as its stage declares: {'; '.join(faults)}")


FILES = (Column("file", pa.string()), Column("content", pa.large_binary()))
"""The columns of a stage that makes files for people: `Stage.publishes` says where they go."""


class Publishes(Enum):
    """Where the files of a stage go in a run's folder, and what else shows them."""

    ATLAS = "atlas"
    """The picture and JSON of an atlas: listed in the report and on the overview."""
    PICTURE = "picture"
    """Beside an atlas, and on its overview."""
    FIGURE = "figure"
    """A picture of its own in the report."""
    FILE = "file"
    """Beside an atlas; nothing of ours shows it."""
    VIEWER = "viewer"
    """Loaded by the viewer's page."""


@dataclass(frozen=True, slots=True)
class ViewerFacts:
    """What the viewer is told about an artefact: keys of its run, of its view, of its grid."""

    run: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """The peak memory of a task.

    Attributes:
        task: the task in words; needs with the same words are of the same task, and the largest counts.
        remedy: what lowers it, in words.
        num_tasks: how many such tasks there are, which may run side by side.
        is_first: whether these tasks are over before the tasks of other needs begin.
    """

    task: str
    num_bytes: int
    remedy: str
    num_tasks: int = 1
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What steps will need. disk_bytes: still to be written, uncompressed."""

    disk_bytes: int = 0
    memory: tuple[MemoryNeed, ...] = ()
