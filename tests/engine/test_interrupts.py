"""Ctrl-C is the business of the process that the user started; its end is quiet."""

import subprocess
import sys

LEFT_BEHIND = """
import multiprocessing, os
from atlas_pipeline.interrupts import block_interrupts
{block}
lock = multiprocessing.get_context("spawn").Lock()
os._exit(0)
"""


def words_at_the_end(block: str) -> str:
    """Warnings after a process has ended and left a semaphore; the pipe closes after the tracker."""
    script = LEFT_BEHIND.format(block=block)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr


def test_semaphores_of_ended_workers_greet_nobody():
    assert "leaked semaphore" in words_at_the_end("")
    assert words_at_the_end("block_interrupts()") == ""
