"""What a stage is, what a step of a pipeline is, and what a stage sees when it runs.

A pipeline is a list of steps; a step is a stage with a config and inputs, and makes one artefact: a table cut
into parts. The work of a step is split into tasks; task number i makes part number i. A task is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from atlas_pipeline.engine.declaration import Column, Needs, Publishes, ViewerFacts, bind

# Labels of one kind that a line on the terminal has room for.
_MOST_NAMED = 4

Task = Mapping[str, Any]
"""Which slice of the work, never the data itself; JSON-able."""

Notes = Mapping[str, Any]
"""What a task has to say beside its table (counts, bad items, figures); JSON-able."""

ConfigT = TypeVar("ConfigT")
InputsT = TypeVar("InputsT")


class Artefact(Protocol):
    """A finished input: one table, in parts, and how it was made. Nothing is read before it is asked for.

    Every reading method raises CorruptArtefactError where a file is damaged; the engine then remakes it.
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
        """By role: stage, fingerprint and identity of what it was made from."""

    @property
    def notes(self) -> Notes:
        """What its stage's `summarise` made of the notes of its parts."""

    @property
    def num_rows(self) -> int: ...

    @property
    def num_parts(self) -> int: ...

    @property
    def schema(self) -> pa.Schema: ...

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in memory."""

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table a part, in order; one part in memory at a time."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table a batch that a part was written in, in order; one batch in memory at a time."""

    def rows(self, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows [start, stop), over the borders of parts; opens only the parts (and row groups) it needs."""


def ignore(units: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """How a task is run: never part of a fingerprint, never of influence on the result beyond rounding.

    device: a torch device name. batch_size: None leaves it to the stage. workers: processes that decode
    images; None leaves it to the stage, 0 is none. advance: tells the progress how many units were done.
    """

    device: str = "cpu"
    batch_size: int | None = None
    workers: int | None = None
    advance: Callable[[int], None] = ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one task makes for one job: a part of the artefact, and its notes.

    table: a `pa.RecordBatchReader` where it is too large to hold: it computes while it is written, batch by
    batch.
    """

    table: pa.Table | pa.RecordBatchReader
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[ConfigT, InputsT]):
    """A step whose inputs are finished, as its stage sees it.

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
    """The notes of the only part. A stage of several parts with notes has to say how they add up.

    Raises: TypeError: several parts have notes, and the stage has no `summarise` of its own.
    """
    if len(notes) == 1:
        return notes[0]
    if any(notes):
        raise TypeError("several parts have notes: give the stage a `summarise` that says how they add up")
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One kind of work, as a value: all that others need to know of it, in one place.

    Its functions are top-level functions: workers import them.

    The work:
        name, version: bump the version when the same inputs give other values.
        config: the frozen dataclass of a step's config, or several of which a step has one; None: a mapping.
        inputs: a frozen dataclass with a field for each role (`Artefact`, or `Artefact | None`); None: a
            step's inputs reach the stage as a plain mapping by role.
        split: the tasks of a job, at least one; cheap, for `plan` asks too.
        compute: one task, for one or several jobs (see Step.shared): one Output a job, in the jobs' order.
        unit, size: what progress counts ("images", "icons"), and how many of them a task has.
        summarise: the notes of the parts there are, in order, to the artefact's notes. Called after every
            task and at the end; an AtlasError raised here stops the run (too many bad images).
        columns: of its table; tables are checked against them. Empty: any.
        identity: columns whose values identify the artefact to later steps; empty: its fingerprint does.
            With it, an artefact that is made anew with the same values leaves everything after it as it is.
    The rest of the program:
        commands: the commands that bring it up to date; `atlas run` makes every stage.
        publishes: where the files that it makes go (columns `declaration.FILES`); None: it makes none.
        is_checked: whether the network is checked before it runs.
        needs: disk and memory of the steps of this stage that compute together. Args: the steps; for each
            its `Extent`, or None where that is not known. Raises AtlasError where the steps cannot be
            made. None: too little to count.
        remarks: lines that a reader of an artefact's results must know.
        viewer: what the viewer is told about an artefact.
    """

    name: str
    version: int
    config: type[Any] | tuple[type[Any], ...] | None = None
    inputs: type[Any] | None = None
    split: Callable[[Job[Any, Any]], Sequence[Task]]
    compute: Callable[[Task, Sequence[Job[Any, Any]], Runtime], Sequence[Output]]
    unit: str
    size: Callable[[Task], int]
    summarise: Callable[[Job[Any, Any], Sequence[Notes]], Notes] = only_notes
    columns: tuple[Column, ...] = ()
    identity: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    publishes: Publishes | None = None
    is_checked: bool = False
    needs: Callable[[Sequence[Step], Sequence[Any]], Needs] | None = None
    remarks: Callable[[Step, Artefact], Iterable[str]] | None = None
    viewer: Callable[[Artefact], ViewerFacts] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One node of a pipeline: one artefact. Compared by identity; two equal ones make the same artefact once.

    config: all that affects the result, fingerprinted: a frozen dataclass of plain values (see
        `declaration.plain_config`), or a mapping of them.
    inputs: by role.
    settings: how and where (paths, tolerances), picklable: never fingerprinted.
    layer, view, grid: labels for people.
    shared: steps of one stage with the same `shared` and the same inputs compute together: one call of
        `compute` makes part i of every one of them that lacks it. Their splits must be equal.
    own_inputs: roles in which such siblings may differ.

    Raises: TypeError: a config or a role that its stage does not have, or a role that is missing.
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
    """``bin mixed4 all 20, 40``: the stage, then the labels, each once; of many the first few."""
    names = [steps[0].stage.name]
    for label in ("layer", "view", "grid"):
        values = list(dict.fromkeys(str(v) for s in steps if (v := getattr(s, label)) is not None))
        if len(values) > _MOST_NAMED:
            values[_MOST_NAMED - 1 :] = [f"and {len(values) - _MOST_NAMED + 1} more"]
        names.extend([", ".join(values)] if values else [])
    return " ".join(names)
