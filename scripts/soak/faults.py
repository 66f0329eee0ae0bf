"""The faults: what each does to a run, and the exit codes allowed afterwards."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from atlas_pipeline.engine.manifest import MANIFEST_NAME
from scripts.soak.checks import parts
from scripts.soak.scene import Scene

INLINE: tuple[str, ...] = ()
DASK = ("--local-cluster", "2")
IMAGE_WORKERS = ("--workers", "2")
TEN_YEARS_S = 10 * 365 * 86400.0


def kill_driver(scene: Scene) -> bool:
    struck = scene.wait_for_moment()
    scene.driver.signal(signal.SIGKILL, group=scene.random.random() < 0.5)
    return struck


def kill_dask_worker(scene: Scene) -> bool:
    return scene.wait_for_moment(scene.driver.dask_workers) and _kill_one(scene, scene.driver.dask_workers())


def kill_image_worker(scene: Scene) -> bool:
    # Image workers live only while a shard is read, so strike as soon as one appears.
    while scene.driver.is_running:
        if victims := scene.driver.image_workers():
            scene.struck_at = time.monotonic()
            return _kill_one(scene, victims)
        time.sleep(0.005)
    return False


def _kill_one(scene: Scene, victims: Sequence[psutil.Process]) -> bool:
    if not victims:
        return False
    with suppress(psutil.Error):
        scene.random.choice(list(victims)).kill()
    return True


def starve_dask_worker(scene: Scene) -> bool:
    """Limit the address space of a Dask worker to at most 16 MiB above its present size."""
    if not scene.wait_for_moment(scene.driver.dask_workers):
        return False
    victims = scene.driver.dask_workers()
    if not victims:
        return False
    with suppress(psutil.Error):
        victim = scene.random.choice(victims)
        most = victim.memory_info().vms + scene.random.randrange(16 << 20)
        victim.rlimit(psutil.RLIMIT_AS, (most, most))
    return True


def interrupt(scene: Scene) -> bool:
    struck = scene.wait_for_moment()
    scene.driver.signal(signal.SIGINT, group=True)
    return struck


def interrupt_twice(scene: Scene) -> bool:
    struck = interrupt(scene)
    time.sleep(scene.random.uniform(0, 0.5))
    scene.driver.signal(signal.SIGINT, group=True)
    return struck


def fill_disk(scene: Scene) -> bool:
    struck = scene.wait_for_moment()
    if scene.disk.is_own:
        scene.disk.fill(leave_bytes=scene.random.randrange(100_000))
    else:
        most = scene.random.randrange(2_000)
        for process in scene.driver.processes():
            with suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_FSIZE, (most, most))
    return struck


def cut_part(scene: Scene) -> bool:
    return _spoil_part(scene, lambda path: os.truncate(path, scene.random.randrange(path.stat().st_size)))


def flip_byte(scene: Scene) -> bool:
    return _spoil_part(scene, lambda path: _flip(scene, path, keep_time=False))


def flip_byte_unseen(scene: Scene) -> bool:
    return _spoil_part(scene, lambda path: _flip(scene, path, keep_time=True))


def _flip(scene: Scene, path: Path, *, keep_time: bool) -> None:
    stat = path.stat()
    with path.open("r+b") as file:
        at = scene.random.randrange(stat.st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << scene.random.randrange(8))]))
    if keep_time:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _spoil_part(scene: Scene, how: Callable[[Path], None]) -> bool:
    struck = scene.wait_for_moment()
    found = [path for folder in scene.finished_folders() for path in sorted(folder.glob("part-*.parquet"))]
    if found:
        how(scene.spoil(scene.random.choice(found)))
    return struck and bool(found)


def cut_manifest(scene: Scene) -> bool:
    return _spoil_manifest(scene, lambda path: os.truncate(path, scene.random.randrange(path.stat().st_size)))


def delete_manifest(scene: Scene) -> bool:
    return _spoil_manifest(scene, os.remove)


def _spoil_manifest(scene: Scene, how: Callable[[Path], None]) -> bool:
    struck = scene.wait_for_moment()
    found = scene.finished_folders()
    if found:
        how(scene.spoil(scene.random.choice(found) / MANIFEST_NAME))
    return struck and bool(found)


def leave_stray(scene: Scene) -> bool:
    """Write a temporary file as a killed run leaves it: in an unfinished artefact or a published folder."""
    struck = scene.wait_for_moment()
    unfinished = {path.parent for path in parts(scene.workspace)} - set(scene.finished_folders())
    published = {path.parent for path in (scene.workspace / "runs").rglob("*.json")}
    if found := sorted(unfinished | published):
        stray = scene.random.choice(found) / f".part-00000.parquet.{uuid.uuid4().hex}.tmp"
        scene.spoil(stray).write_bytes(scene.random.randbytes(1000))
    return struck and bool(found)


def jump_clock(scene: Scene) -> bool:
    struck = scene.wait_for_moment()
    shifts = [scene.random.uniform(-TEN_YEARS_S, TEN_YEARS_S) for _ in range(3)]
    if DASK[0] in scene.arguments:
        # Forwards only: a Dask message sent just before the clock goes back waits until it catches up.
        shifts = sorted(map(abs, shifts))
    for shift in shifts:
        scene.case.clock.write_text(str(shift))
        time.sleep(0.3)
    return struck


def change_file_times(scene: Scene) -> bool:
    struck = scene.wait_for_moment()
    now = time.time()
    for path in (scene.workspace / "cache").rglob("*"):
        at = now + scene.random.uniform(-TEN_YEARS_S, TEN_YEARS_S)
        with suppress(FileNotFoundError):
            os.utime(path, (at, at))
    return struck


def start_second_driver(scene: Scene) -> bool:
    struck = scene.wait_for_moment()
    scene.drivers.append(scene.case.start(scene.workspace, *scene.arguments))
    return struck


OUT_OF_MEMORY = ("MemoryError", "RuntimeError: can't start new thread")


@dataclass(frozen=True)
class Kind:
    """A fault, the command-line options it is tried with, and the allowed exit codes.

    codes: include 0 where the fault may strike too late to matter.
    modes: options of `atlas run`, one tuple per way of running.
    cuts_off: the fault may stop a task between the parts of sibling artefacts; all of them are then remade.
    clock: the run reads a clock that the fault can shift.
    allowed_errors: last lines of tracebacks may begin with these.
    """

    name: str
    strike: Callable[[Scene], bool]
    codes: frozenset[int]
    modes: tuple[tuple[str, ...], ...]
    cuts_off: bool = False
    clock: bool = False
    allowed_errors: tuple[str, ...] = ()


def _kind(name: str, strike: Callable[[Scene], bool], *codes: int, modes=(INLINE, DASK), **how) -> Kind:
    return Kind(name, strike, frozenset(codes), tuple(modes), **how)


KINDS = (
    _kind("driver killed", kill_driver, -9, 0, modes=(INLINE, DASK, IMAGE_WORKERS)),
    _kind("worker killed", kill_dask_worker, 0, modes=(DASK,), cuts_off=True),
    _kind("image worker killed", kill_image_worker, 0, 2, modes=(IMAGE_WORKERS,)),
    _kind(
        "worker out of memory",
        starve_dask_worker,
        0,
        3,
        modes=(DASK,),
        cuts_off=True,
        allowed_errors=OUT_OF_MEMORY,
    ),
    _kind("interrupted", interrupt, 130, 0, modes=(INLINE, DASK, IMAGE_WORKERS)),
    # -2 is 130 to a shell: the second signal came after the interpreter had removed its signal handlers.
    _kind(
        "interrupted twice",
        interrupt_twice,
        *(130, -2, 0),
        modes=(INLINE, DASK, IMAGE_WORKERS),
    ),
    _kind("disk full", fill_disk, 2, 0),
    _kind("part cut short", cut_part, 0),
    _kind("byte flipped", flip_byte, 0),
    _kind("byte flipped, time kept", flip_byte_unseen, 0),
    _kind("manifest cut short", cut_manifest, 0),
    _kind("manifest deleted", delete_manifest, 0),
    _kind("stray file", leave_stray, 0),
    _kind("clock jumps", jump_clock, 0, clock=True),
    _kind("file times changed", change_file_times, 0),
    _kind("two drivers", start_second_driver, 0),
)
