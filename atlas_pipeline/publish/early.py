"""Publication while a run goes on: what is ready is shown, without holding the run up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from atlas_pipeline.engine.location import Location
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.errors import AtlasError

# Publishing takes at most this share of a run's time.
_SHARE = 0.1


class EarlyPublication:
    """Brings a run's folder up to date while the run goes on.

    Publishing compares all files of a run, so the pause after it is as many times longer as the share allows.
    """

    def __init__(self, publish: Callable[[], Location | None]) -> None:
        """publish: brings the folder up to date; returns the page if there is one."""
        self._publish = publish
        self._is_stale = self._has_page = False
        self._not_before = 0.0

    def __call__(self, ended: Sequence[Step]) -> str | None:
        """Publish if steps with files have ended and enough time has passed.

        Args:    ended: steps that have ended since the last call.
        Returns: a line for the user when the page appears; None otherwise.
        """
        self._is_stale |= any(step.stage.publishes is not None for step in ended)
        started = time.monotonic()
        if not self._is_stale or started < self._not_before:
            return None
        page = None
        # The publication at the end of the run reports what is wrong; until then the run can do its work.
        with suppress(AtlasError):
            page = self._publish()
        self._is_stale = False
        if page is None:
            # There is little to compare yet, and the page should come soon.
            return None
        ended_at = time.monotonic()
        self._not_before = ended_at + (ended_at - started) / _SHARE
        if self._has_page:
            return None
        self._has_page = True
        return f"to watch the run, open {page}, and reload it as layers and icons are finished"
