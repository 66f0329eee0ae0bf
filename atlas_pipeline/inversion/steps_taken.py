"""The progress of an optimisation, in icons: an icon that took a quarter of its steps counts a quarter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import torch

# A GPU is asked this often how far it is: after so many steps that the host has started.
_STEPS_BETWEEN_EVENTS = 8


class StepsTaken:
    """Reports the steps that the device has taken, without waiting for it.

    The host may be many steps ahead of a GPU. There, events tell which steps have ended.
    """

    def __init__(
        self, advance: Callable[[float], None] | None, steps_per_icon: int, device: torch.device
    ) -> None:
        """advance: receives the icons done since the last report; None: nobody listens."""
        self._advance, self._steps_per_icon = advance, steps_per_icon
        self._has_events = device.type == "cuda" and advance is not None
        self._device = device
        self._events: deque[tuple[torch.cuda.Event, int]] = deque()
        self._started = self._taken = 0
        # The step at which each unfinished icon joined, and their sum.
        self._joined: dict[int, int] = {}
        self._sum_joined = 0
        self._num_finished = 0
        self._reported = 0.0

    def join(self, icons: Iterable[int]) -> None:
        """Icons of which the next step is the first."""
        for icon in icons:
            if icon not in self._joined:
                self._joined[icon] = self._started
                self._sum_joined += self._started

    def step(self) -> None:
        """The host has started a step of all icons that joined."""
        self._started += 1
        if not self._has_events:
            self._taken = self._started
        elif self._started % _STEPS_BETWEEN_EVENTS == 0:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(self._device))
            self._events.append((event, self._started))
        while self._events and self._events[0][0].query():
            self._taken = self._events.popleft()[1]
        self._report()

    def all_taken(self) -> None:
        """The device has taken all steps that were started."""
        self._events.clear()
        self._taken = self._started

    def finish(self, icons: Iterable[int]) -> None:
        """Icons that take no more steps."""
        for icon in icons:
            self._sum_joined -= self._joined.pop(icon)
            self._num_finished += 1
        self._report()

    def restart(self, icons: Iterable[int]) -> None:
        """Icons that lose their steps; they are reported again only once they are further than before."""
        for icon in icons:
            self._sum_joined -= self._joined.pop(icon, 0)
        self.all_taken()

    def _report(self) -> None:
        if self._advance is None:
            return
        # Finished icons take no steps, but stay in the batch until they are looked for.
        most = len(self._joined) * self._steps_per_icon
        steps = min(most, max(0, len(self._joined) * self._taken - self._sum_joined))
        done = self._num_finished + steps / self._steps_per_icon
        if done > self._reported:
            self._advance(done - self._reported)
            self._reported = done
