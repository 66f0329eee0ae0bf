"""Inject faults into a run and check that it resumes and ends with the files of an undisturbed run.

    uv run python -m scripts.soak --faults 100

The first run is undisturbed. The second uses another workspace and suffers one random fault after another.
After each fault, the exit code must be an allowed one, no traceback, process or lock may remain, every file
must be whole, and nothing finished may be made again. A complete run is compared with the undisturbed one
byte for byte; then some of its artefacts are removed and it starts again. Needs Linux. The full disk is a
tmpfs where mounting is allowed, otherwise a limit on the size of files.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.soak.case import Case
from scripts.soak.checks import content, differences, held_locks, leftovers, not_whole, parts
from scripts.soak.driver import Disk, Driver, Ending, small_disk
from scripts.soak.faults import KINDS, Kind
from scripts.soak.report import Tally, last_line, report
from scripts.soak.scene import Scene

GONE_S = 20.0


class Soak:
    """A run that suffers fault after fault. violations: broken promises, one line each."""

    def __init__(self, case: Case, disk: Disk, seed: int) -> None:
        self.case, self.disk, self.random = case, disk, random.Random(seed)
        self.workspace = disk.path / "workspace"
        self.tallies: dict[str, Tally] = {}
        self.violations: list[str] = []
        self.num_equal = 0
        undisturbed = case.folder / "undisturbed"
        ending = case.start(undisturbed).end()
        assert ending.code == 0, f"the undisturbed run failed: {ending.stderr}"
        self.expected = content(undisturbed)
        self._num_parts = len(parts(undisturbed))
        self._spoiled: set[Path] = set()

    def disturb(self, kind: Kind) -> bool:
        """Run once with one fault; return False if the run ended before the fault struck."""
        standing, before = parts(self.workspace) - self._spoiled, len(self.case.written())
        # Damage that shows only when a file is read needs --verify.
        verify = ("--verify",) if self._spoiled else ()
        arguments = (*self.random.choice(kind.modes), *verify)
        scene = Scene(
            self.case,
            self.disk,
            self.workspace,
            self.random,
            self._num_parts - len(standing),
            arguments,
            self._spoiled,
        )
        scene.drivers.append(self.case.start(self.workspace, *arguments, shifted_clock=kind.clock))
        struck = kind.strike(scene)
        endings = [driver.end() for driver in scene.drivers]
        self.disk.ballast.unlink(missing_ok=True)
        remade = self._remade(standing, before)
        found = self._wrong_endings(kind, scene, endings) + self._wrong_files(kind, standing, remade)
        if struck:
            tally = self.tallies.setdefault(kind.name, Tally(kind.name))
            tally.add([e.code for e in endings], time.monotonic() - scene.struck_at, len(remade))
        self._violated(f"{kind.name} {' '.join(arguments)}", found, endings)
        if endings[0].code == 0:
            self._complete()
        return struck

    def finish(self) -> None:
        """Run once more without a fault, to the end."""
        ending = self.case.start(self.workspace, "--verify").end()
        self._violated("the last run", [] if ending.code == 0 else [f"exit {ending.code}"], [ending])
        self._spoiled.clear()
        self._complete()

    def _wrong_endings(self, kind: Kind, scene: Scene, endings: Sequence[Ending]) -> list[str]:
        found = []
        for driver, ending in zip(scene.drivers, endings, strict=True):
            if ending.hung:
                found.append("did not end")
            if ending.code not in kind.codes:
                found.append(f"exit {ending.code}")
            found += [
                f"a traceback, {last}"
                for last in _tracebacks(ending.stderr)
                if not last.startswith(kind.allowed_errors)
            ]
            found += [f"still alive: {process}" for process in _survivors(driver)]
        return found + held_locks(self.workspace)

    def _remade(self, standing: set[Path], before: int) -> set[Path]:
        """Parts written although they were whole before, or written more than once.

        before: number of ledger lines before the run.
        """
        times = Counter(self.case.written()[before:])
        return {path for path, count in times.items() if count > 1 or path in standing}

    def _wrong_files(self, kind: Kind, standing: set[Path], remade: set[Path]) -> list[str]:
        """Describe files that were lost, half-written, or remade without need."""
        touched, here = set(self._spoiled), content(self.workspace)
        for path in touched:
            name = str(path.relative_to(self.workspace))
            if here.get(name) == self.expected.get(name):
                self._spoiled.remove(path)
        twice = remade - touched
        # Another worker repeats the one task of a killed worker, including sibling parts already written.
        if kind.cuts_off and len({(path.parent.parent.name, path.name) for path in twice}) <= 1:
            twice = set()
        lost = standing - parts(self.workspace) - touched
        return [
            *(f"twice: {path}" for path in twice),
            *(f"lost: {path}" for path in lost),
            *not_whole(self.workspace, self._spoiled),
        ]

    def _complete(self) -> None:
        """Compare the complete run with the undisturbed one, then remove some of its artefacts."""
        if self._spoiled:
            return  # Damage that this run did not see; the next run repairs it.
        found = differences(self.expected, content(self.workspace)) + leftovers(self.workspace)
        self._violated("complete", found, [])
        self.num_equal += not found
        folders = sorted(path for path in (self.workspace / "cache").glob("*/*") if path.is_dir())
        for folder in self.random.sample(folders, self.random.randint(len(folders) // 2, len(folders))):
            shutil.rmtree(folder)
        if self.random.random() < 0.5:
            shutil.rmtree(self.workspace / "runs")

    def _violated(self, when: str, found: Sequence[str], endings: Sequence[Ending]) -> None:
        self.violations += [f"{when}: {line}" for line in found]
        for line in found:
            print(f"!! {when}: {line}", file=sys.stderr)
        for ending in endings if found else ():
            print(ending.stderr, file=sys.stderr)


def _tracebacks(stderr: str) -> list[str]:
    """The last line of each traceback, which names the exception."""
    _, *after = stderr.split("Traceback (most recent call last):\n")
    return [next((line for line in text.splitlines() if line[:1] != " "), "cut short") for text in after]


def _survivors(driver: Driver) -> list[str]:
    deadline = time.monotonic() + GONE_S
    while (left := driver.processes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [str(process) for process in left]


def soak(case: Case, disk: Disk, kinds: Sequence[Kind], num_faults: int, seed: int) -> Soak:
    """Inject this many faults: each round uses every kind once, in random order."""
    soaked = Soak(case, disk, seed)
    queue: list[Kind] = []
    done = 0
    while done < num_faults:
        queue = queue or soaked.random.sample(kinds, len(kinds))
        started = time.monotonic()
        kind = queue[-1]
        struck = soaked.disturb(kind)
        seconds = time.monotonic() - started
        progress = f"{done + struck} of {num_faults}" if struck else "too late"
        print(f"{progress}: {kind.name}, {seconds:.0f} s", file=sys.stderr, flush=True)
        if struck:
            queue.pop()
            done += 1
    soaked.finish()
    return soaked


def main() -> int:
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100, help="number of faults (100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of faults (default: 0)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=names,
        default=names,
        metavar="KIND",
        help=f"any of: {', '.join(names)} (default: all)",
    )
    parser.add_argument(
        "--folder", type=Path, help="a new folder to work in, which is kept; default: a temporary one"
    )
    parser.add_argument("--short", action="store_true", help="a smaller run, as in CI")
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    case = Case(folder / "case", short=options.short)
    kinds = [kind for kind in KINDS if kind.name in options.kinds]
    with small_disk(folder / "disk") as disk:
        soaked = soak(case, disk, kinds, options.faults, options.seed)
    print(report(soaked.tallies.values(), options.format, last_line(soaked, disk.is_own)))
    for line in soaked.violations:
        print(line)
    if options.folder is None:
        shutil.rmtree(folder)
    return 1 if soaked.violations else 0
