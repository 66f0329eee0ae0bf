"""Hooks in every process of a soaked run. Python imports this module at start-up, from PYTHONPATH.

SOAK_LEDGER: a file that receives one line for each part renamed into place. SOAK_CLOCK: a file with the
offset of the clock in seconds; it may change while the process runs.
"""

import os
import re
import sys
import time

_PART = re.compile(r"/part-\d+\.parquet$")


def _keep_ledger(ledger: str) -> None:
    def note(event: str, arguments: tuple) -> None:
        if event == "os.rename" and _PART.search(os.fsdecode(arguments[1])):
            handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, os.fsencode(arguments[1]) + b"\n")
            os.close(handle)

    sys.addaudithook(note)


def _shift_clock(path: str) -> None:
    true_ns, monotonic_ns = time.time_ns, time.monotonic_ns
    known = {"until": 0, "shift": 0}

    def shifted_ns() -> int:
        now = monotonic_ns()
        if now >= known["until"]:
            with open(path) as file:
                known["shift"] = int(float(file.read() or 0) * 1e9)
            known["until"] = now + 50_000_000
        return true_ns() + known["shift"]

    time.time_ns, time.time = shifted_ns, lambda: shifted_ns() / 1e9


if "SOAK_LEDGER" in os.environ:
    _keep_ledger(os.environ["SOAK_LEDGER"])
if "SOAK_CLOCK" in os.environ:
    _shift_clock(os.environ["SOAK_CLOCK"])
