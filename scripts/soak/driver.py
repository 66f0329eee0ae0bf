"""A command with the processes it starts, and the disk it writes to."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

HANG_S = 300.0
DISK_MB = 96


@dataclass(frozen=True)
class Ending:
    """How a command ended. code: the return code of subprocess; hung: it timed out and we killed it."""

    code: int
    stdout: str
    stderr: str
    hung: bool


class Driver:
    """A running command and the processes it started."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self.started = time.monotonic()
        number = len(list(folder.glob("*.stderr")))
        self._outputs = [folder / f"{number:04d}.stdout", folder / f"{number:04d}.stderr"]
        with self._outputs[0].open("wb") as out, self._outputs[1].open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=errors,
                env=environment,
                start_new_session=True,
                # Two cores: each of two workers then gets as many threads as a single process.
                preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2]),
            )
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: int, *, group: bool) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def end(self) -> Ending:
        """Wait until the command ends; kill it after HANG_S seconds."""
        hung = False
        try:
            self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            hung = True
            self.signal(signal.SIGKILL, group=True)
            self._process.wait()
        stdout, stderr = (path.read_text(errors="replace") for path in self._outputs)
        return Ending(self._process.returncode, stdout, stderr, hung)

    def processes(self) -> list[psutil.Process]:
        """All live processes of its session, including itself."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def dask_workers(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "spawn_main" in _command_line(p)]

    def image_workers(self) -> list[psutil.Process]:
        """Children of the fork server, whose command line they share."""
        servers = [p for p in self.processes() if "forkserver" in _command_line(p) and p.ppid() == self.pid]
        return [child for server in servers for child in server.children()]


@dataclass(frozen=True)
class Disk:
    """Where the disturbed run writes. is_own: it is a small file system of its own, which can be filled."""

    path: Path
    is_own: bool

    @cached_property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self, leave_bytes: int) -> None:
        """Fill the disk until this many bytes are free."""
        free = os.statvfs(self.path)
        size = max(0, free.f_bavail * free.f_frsize - leave_bytes)
        with self.ballast.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, size))


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """Mount a tmpfs at the path; where mounting is not allowed, use the plain folder."""
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(path)]
    is_own = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield Disk(path, is_own)
    finally:
        if is_own:
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=True)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
