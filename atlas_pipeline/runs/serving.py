"""A run's folder over HTTP, on this machine's loopback only: for a browser on another machine, by SSH."""

from __future__ import annotations

import getpass
import socket
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from atlas_pipeline.errors import ResourceError

LOOPBACK = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, to requests for this machine only, and logs nothing."""

    def do_GET(self) -> None:
        if self._is_for_loopback():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_for_loopback():
            super().do_HEAD()

    def _is_for_loopback(self) -> bool:
        # A page of another site can let its own name point here. The browser then sends that name.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host in (LOOPBACK, "localhost"):
            return True
        self.send_error(403, "only for this machine")
        return False

    def end_headers(self) -> None:
        # A run may go on: a reload must show what is new.
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def server_of(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder's files. port: 0 for any free one.

    Raises: ResourceError: the port is taken.
    """
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise ResourceError(
            f"port {port} cannot be used ({error.strerror}); give another by --port, or 0 for any free one"
        ) from error


def forwarding(port: int) -> str:
    """The command that makes a port of this machine that of another one."""
    return f"ssh -L {port}:{LOOPBACK}:{port} {getpass.getuser()}@{socket.gethostname()}"
