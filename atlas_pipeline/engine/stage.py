"""Stages, the steps of a pipeline, and the objects that a stage works with when it runs.

A pipeline is a list of steps. A step is a stage with a config and inputs. It makes one artefact: a table cut
into parts. The work of a step is split into tasks; task number i makes part number i. A task is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from atlas_pipeline.engine.declaration import Column, Needs, Publishes, ViewerFacts, bind

# Most labels of one kind in a line on the terminal.
_MAX_LABELS = 4

Task = Mapping[str, Any]
"""A slice of a step's work, never the data itself; JSON-serialisable."""

Notes = Mapping[str, Any]
"""Facts that a task returns beside its table (counts, bad items, measures); JSON-serialisable."""

ConfigT = TypeVar("ConfigT")
InputsT = TypeVar("InputsT")


class Artefact(Protocol):
    """A finished artefact: one table in parts, and its provenance. Only the reading methods read its table.

    Every reading method raises CorruptArtefactError if a file is damaged; the engine then remakes it.
    """

    @property
    def stage(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The config it was made with."""

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Stage, fingerprint and identity of each input that it was made from, by role."""

    @property
    def notes(self) -> Notes:
        """The summary of its parts' notes, made by its stage's `summarise`."""

    @property
    def digest(self) -> str:
        """A digest of the parts' bytes."""

    @property
    def num_rows(self) -> int: ...

    @property
    def num_parts(self) -> int: ...

    @property
    def schema(self) -> pa.Schema: ...

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in memory."""

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table per part, in order; one part in memory at a time."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table per batch in which a part was written, in order; one batch in memory at a time."""

    def rows(self, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows [start, stop), across parts; opens only the parts and row groups that hold them."""


def ignore(units: float) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How to run a task; never part of a fingerprint, and never affects a result beyond rounding.

    device: a torch device name. batch_size: None leaves it to the stage. workers: processes that decode
    images; None leaves it to the stage, 0 means none. threads: most threads of the kernels; None: as many as
    the process has. advance: reports how many units were done; fractions of a unit may be reported.
    """

    device: str = "cpu"
    batch_size: int | None = None
    workers: int | None = None
    threads: int | None = None
    advance: Callable[[float], None] = ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The output of one task for one job: a part of the artefact, and its notes.

    table: a `pa.RecordBatchReader` if the part is too large for memory; it is computed batch by batch while
    it is written.
    """

    table: pa.Table | pa.RecordBatchReader
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[ConfigT, InputsT]):
    """A step with finished inputs, as passed to its stage's functions.

    config: the stage's config dataclass. inputs: its inputs dataclass, with an artefact for each role.
    settings: see `Step`.
    """

    config: ConfigT
    settings: Any
    inputs: InputsT
    layer: str | None
    view: str | None
    grid: int | None
    fingerprint: str


def only_notes(job: Job[Any, Any], notes: Sequence[Notes]) -> Notes:
    """The default `summarise`: the notes of the only part.

    Raises: TypeError: several parts have notes, so the stage needs its own `summarise`.
    """
    if len(notes) == 1:
        return notes[0]
    if any(notes):
        raise TypeError("several parts have notes: give the stage a `summarise` that merges them")
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The complete declaration of one kind of work.

    Its functions must be top-level functions, because workers import them.

    Attributes used by the engine:
        name, version: bump the version when the same inputs give other values.
        config: frozen dataclass of a step's config, or a tuple of alternatives; None: a mapping.
        inputs: frozen dataclass with a field for each role (`Artefact`, or `Artefact | None`); None: a
            job's inputs are a plain mapping by role.
        split: returns the tasks of a job, at least one. It must be cheap, because `plan` calls it too.
        compute: runs one task for one or several jobs (see `Step.shared`); one Output per job, in order.
        compute_together: runs several tasks in one call; one list of Outputs per task, in order. On a GPU,
            tasks that are small for CPUs then fill it. Parts and fingerprints are those of single tasks.
            None: each task is a call of its own.
        most_together: most tasks of such a call.
        unit, size: the unit of progress ("images", "icons"), and the number of units in a task.
        summarise: merges the notes of the parts so far, in order, into the artefact's notes. Called after
            every task and at the end; an AtlasError raised here stops the run (e.g. too many bad images).
        columns: columns of the stage's table; tables are checked against them. Empty: any columns.
        identity: columns whose values identify the artefact to later steps; empty: its fingerprint does.
            With it, later steps stay valid if the artefact is made anew with equal values.
        uses_device: whether tasks compute on the run's device, or a function that tells it from the config.
            Beside a GPU, tasks of all other stages run on CPU workers.
        uses_all_cores: whether one task can use all cores. Such steps share the cores of the machine.
    Attributes used by the rest of the program:
        commands: commands that bring the stage up to date; `atlas run` makes every stage.
        publishes: where the stage's files go (columns `declaration.FILES`); None: it makes no files.
        is_checked: whether the network is checked before the stage runs.
        needs: estimates disk and memory for steps of this stage that compute together. Args: the steps, and
            the `Extent` of each, or None if unknown. Raises AtlasError if the steps cannot be made. None:
            the stage needs too little to count.
        remarks: returns lines that a reader of an artefact's results must know.
        viewer: returns the facts about an artefact that the viewer loads.
        may_lag: whether an artefact made from some of a step's inputs, all else equal, is true of those and
            may be published until the step is done.
    """

    name: str
    version: int
    config: type[Any] | tuple[type[Any], ...] | None = None
    inputs: type[Any] | None = None
    split: Callable[[Job[Any, Any]], Sequence[Task]]
    compute: Callable[[Task, Sequence[Job[Any, Any]], Runtime], Sequence[Output]]
    compute_together: (
        Callable[[Sequence[Task], Sequence[Job[Any, Any]], Runtime], Sequence[Sequence[Output]]] | None
    ) = None
    most_together: int = 1
    unit: str
    size: Callable[[Task], int]
    summarise: Callable[[Job[Any, Any], Sequence[Notes]], Notes] = only_notes
    columns: tuple[Column, ...] = ()
    identity: tuple[str, ...] = ()
    uses_device: bool | Callable[[Any], bool] = False
    uses_all_cores: bool = False
    commands: tuple[str, ...] = ()
    publishes: Publishes | None = None
    is_checked: bool = False
    needs: Callable[[Sequence[Step], Sequence[Any]], Needs] | None = None
    remarks: Callable[[Step, Artefact], Iterable[str]] | None = None
    viewer: Callable[[Artefact], ViewerFacts] | None = None
    may_lag: bool = False

    def is_for_device(self, config: Any) -> bool:
        """Whether the tasks of a step with this config compute on the run's device."""
        return self.uses_device(config) if callable(self.uses_device) else self.uses_device


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One node of a pipeline, which makes one artefact. Steps compare by object identity.

    config: everything that affects the result; part of the fingerprint. A frozen dataclass of plain values
        (see `declaration.plain_config`), or a mapping of plain values.
    inputs: the steps that make the inputs, by role.
    settings: paths, tolerances and the like; picklable, never part of a fingerprint.
    layer, view, grid: labels for users.
    shared: steps of one stage with equal `shared` and equal inputs compute together. One call of `compute`
        makes part i for every one of them that lacks it. Their splits must be equal.
    own_inputs: roles in which such steps may differ.

    Raises: TypeError: the stage has no such config or role, or a role is missing.
    """

    stage: Stage
    config: Any
    inputs: Mapping[str, Step] = field(default_factory=dict)
    settings: Any = field(default_factory=dict)
    layer: str | None = None
    view: str | None = None
    grid: int | None = None
    shared: str | None = None
    own_inputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wanted = self.stage.config
        if wanted is not None and not isinstance(self.config, wanted):
            raise TypeError(f"the config of a {self.stage.name} step is a {type(self.config).__name__}")
        bind(self.stage.inputs, self.inputs)


def describe(*steps: Step) -> str:
    """The stage and the distinct labels of steps, such as ``bin mixed4 all 20, 40``; long lists are cut."""
    names = [steps[0].stage.name]
    for label in ("layer", "view", "grid"):
        values = list(dict.fromkeys(str(v) for s in steps if (v := getattr(s, label)) is not None))
        if len(values) > _MAX_LABELS:
            values[_MAX_LABELS - 1 :] = [f"and {len(values) - _MAX_LABELS + 1} more"]
        names.extend([", ".join(values)] if values else [])
    return " ".join(names)
