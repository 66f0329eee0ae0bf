"""Sections of the report: each yields tables, has a time limit, and may fail without ending the others."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.models import ModelSpec, Network, open_network

Row = dict[str, Any]

GOOGLENET = tuple(f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"))
DEMO = ("mixed3", "mixed4", "mixed5")


@dataclass(frozen=True, slots=True)
class Setup:
    """The device and sizes of a measurement. quick: the smallest sizes, for a test of the script itself."""

    device: str
    quick: bool = False
    network: str = "googlenet"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that an atlas of this network would show."""
        return GOOGLENET if self.network == "googlenet" else DEMO

    def open(self, device: str | None = None) -> Network:
        """The network: GoogLeNet with random weights (times do not depend on them), or the demo network."""
        spec = ModelSpec(source="demo")
        if self.network == "googlenet":
            spec = ModelSpec(source="torchvision", name="googlenet", weights="random")
        return open_network(spec).to(self.device if device is None else device)

    def choose(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object], repeats: int = 3) -> float:
        """Median seconds of a call, after one that is not timed."""
        taken = []
        for _ in range(1 + (1 if self.quick else repeats)):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            taken.append(time.perf_counter() - started)
        return sorted(taken[1:])[(len(taken) - 1) // 2]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with equal keys."""

    title: str
    rows: list[Row]

    def markdown(self) -> str:
        if not self.rows:
            return f"**{self.title}**: nothing\n"
        columns = list(self.rows[0])
        lines = [f"**{self.title}**\n", _line(columns), _line(["---"] * len(columns))]
        return "\n".join([*lines, *(_line([_cell(row[name]) for name in columns]) for row in self.rows), ""])


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report. needs: what must be installed: "torch", or "the package"."""

    name: str
    limit_s: float
    needs: str
    measure: Callable[[Setup], Iterator[Table]]


@dataclass(slots=True)
class Result:
    """The tables of a section, up to the error that ended it, if any."""

    name: str
    tables: list[Table] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None

    @property
    def num_failed(self) -> int:
        """Checks that failed."""
        return sum(row.get("verdict") == "FAILED" for table in self.tables for row in table.rows)


class TimeLimitError(Exception):
    """The section took longer than it may."""


def run_section(section: Section, setup: Setup) -> Result:
    """Measure a section within its time; a table that is finished is kept whatever follows."""
    result, started = Result(section.name), time.perf_counter()
    try:
        # Quick runs test the script, perhaps on a machine that is busy with other tests.
        with nullcontext() if setup.quick else _time_limit(section.limit_s):
            for table in section.measure(setup):
                result.tables.append(table)
    except TimeLimitError:
        result.error = f"stopped after {section.limit_s:g} s"
    except Exception as error:
        result.error = f"{type(error).__name__}: {error}".splitlines()[0]
        traceback.print_exc()
    result.seconds = time.perf_counter() - started
    return result


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeLimitError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def images(num: int, side: int) -> Tensor:
    """Smooth coloured forms, (image, 3, side, side) uint8, equal on every machine."""
    generator = torch.Generator().manual_seed(0)
    forms = torch.rand(num, 3, 8, 8, generator=generator)
    pixels = torch.nn.functional.interpolate(forms, size=(side, side), mode="bicubic").clamp(0, 1)
    return (pixels * 255).to(torch.uint8)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")
