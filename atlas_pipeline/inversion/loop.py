"""The loop: icons board in the order of their numbers, are made together, and leave as they are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.inversion import memory, schedule
from atlas_pipeline.inversion.canvas import Canvas, as_network_sees
from atlas_pipeline.inversion.icon_batch import IconBatch, Optimizer
from atlas_pipeline.inversion.objectives import Objective
from atlas_pipeline.inversion.settings import InversionSettings

# With patience: steps between two looks at who is done, each of which waits for the device.
_STEPS_BETWEEN_LOOKS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Finished icons of any objective, on the CPU, by their numbers. P = 3, or 4 with `alpha`."""

    images: Tensor
    """(icon, S, S, P) uint8: red, green, blue, and opacity."""
    steps: Tensor
    """(icon,) int32, steps taken."""


def optimise(
    objective: Objective,
    seeds: Sequence[int],
    settings: InversionSettings | None = None,
    *,
    start: Tensor | None = None,
    magnitude: Tensor | None = None,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Drawn:
    """An image for each of the objective's icons that scores high.

    An icon depends on its goal, its seed and its start alone. Which others share its batch changes it only
    by the rounding of the network's kernels. A batch that does not fit the memory is halved, and its icons
    start again.

    Args:    seeds: one an icon. start: (icon, S, S, P) uint8, icons to begin from: they take `warm_steps`
             steps, without transforms. magnitude: for image "maco", as `fourier.magnitude_spectrum`.
             batch_size: icons made together; None: 32 on a CPU, on a GPU what its memory holds, up to 1,024.
             advance: called with the number of icons just finished.
    Raises:  ValueError: numbers that do not go together.
             ModelError: the network takes no such images, or gives another map than was asked for.
             ResourceError: not even one icon fits the memory.
    """
    settings = InversionSettings() if settings is None else settings
    if len(seeds) != objective.num_icons:
        raise ValueError(f"{objective.num_icons} icons but {len(seeds)} seeds; give one seed an icon")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    if start is not None:
        settings = schedule.warm(settings)
        _check_start(start, settings, len(seeds))
    device = torch.device(device)
    canvas = Canvas(settings, device, magnitude)
    if not len(seeds):
        return Drawn(
            torch.empty((0, settings.size_px, settings.size_px, canvas.num_planes), dtype=torch.uint8),
            torch.empty(0, dtype=torch.int32),
        )
    loop = _Loop(objective, seeds, settings, start, canvas, device, batch_size, advance)
    return loop.drawn()


class _Loop:
    def __init__(
        self,
        objective: Objective,
        seeds: Sequence[int],
        settings: InversionSettings,
        start: Tensor | None,
        canvas: Canvas,
        device: torch.device,
        batch_size: int | None,
        advance: Callable[[int], None] | None,
    ) -> None:
        self._seeds, self._settings, self._start = seeds, settings, start
        self._canvas, self._device, self._advance = canvas, device, advance
        self._waiting = deque(range(len(seeds)))
        self._images: list[Tensor | None] = [None] * len(seeds)
        self._steps = torch.zeros(len(seeds), dtype=torch.int32)
        try:
            self._optimizer = Optimizer(objective, settings, canvas, device)
        except torch.OutOfMemoryError as error:
            raise memory.too_large(settings.size_px, device) from error
        self._batch_size = batch_size or self._chosen_batch_size()

    def drawn(self) -> Drawn:
        """All icons, made."""
        between = self._settings.steps if self._settings.patience is None else _STEPS_BETWEEN_LOOKS
        batch: IconBatch | None = None
        while self._waiting or batch is not None:
            in_batch = [] if batch is None else batch.which.tolist()
            try:
                batch = self._filled(batch)
                in_batch = batch.which.tolist()
                for _ in range(between):
                    self._optimizer.step(batch)
                batch = self._without_finished(batch)
                continue
            except torch.OutOfMemoryError as error:
                if self._batch_size == 1:
                    raise memory.too_large(self._settings.size_px, self._device) from error
            # Outside the handler: its traceback holds the tensors that did not fit.
            self._waiting.extendleft(reversed(in_batch))
            batch = None
            self._batch_size = max(1, min(self._batch_size, len(self._waiting)) // 2)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        return Drawn(torch.stack([image for image in self._images if image is not None]), self._steps)

    def _filled(self, batch: IconBatch | None) -> IconBatch:
        """The batch with its free places taken by those who wait."""
        free = self._batch_size - (0 if batch is None else len(batch.which))
        joining = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        if not joining:
            assert batch is not None
            return batch
        start = None if self._start is None else self._start[joining]
        try:
            new = self._optimizer.new_batch(joining, [self._seeds[i] for i in joining], start)
            return new if batch is None else batch.joined(new)
        except torch.OutOfMemoryError:
            self._waiting.extendleft(reversed(joining))
            raise

    def _without_finished(self, batch: IconBatch) -> IconBatch | None:
        """The batch without the icons that are done, whose pictures are kept."""
        done = self._optimizer.done(batch)
        if not done.any():
            return batch
        finished = batch.chosen(done.to(self._device))
        images, steps = self._canvas.icon(finished.coefficients), finished.age.to(torch.int32).cpu()
        for number, image, taken in zip(finished.which.tolist(), images, steps, strict=True):
            self._images[number] = image
            self._steps[number] = taken
        if self._advance is not None:
            self._advance(len(images))
        return None if done.all() else batch.chosen(~done.to(self._device))

    def _chosen_batch_size(self) -> int:
        num_icons = len(self._seeds)
        probe = memory.probe_size(self._device, num_icons)
        if probe is None:
            return min(num_icons, memory.CPU_BATCH)

        def peak_bytes() -> int:
            with memory.PeakMemory(self._device) as used:
                start = None if self._start is None else self._start[:probe]
                self._optimizer.step(
                    self._optimizer.new_batch(list(range(probe)), self._seeds[:probe], start)
                )
            return used.peak_bytes

        try:
            icon_bytes = peak_bytes() // probe
        except torch.OutOfMemoryError:
            return probe
        return min(memory.fitting_batch(icon_bytes, memory.free_bytes(self._device)), num_icons)


def score(objective: Objective, images: Tensor, device: str | torch.device = "cpu") -> Tensor:
    """What finished icons really score: without transforms, in float32; transparent ones over mid grey.

    Args:    images: (icon, S, S, P) uint8, all of the objective's icons, in order.
    Returns: (icon,) float32 on the CPU.
    Raises:  ResourceError: not even one icon fits the memory.
    """
    window = objective.window(images.shape[1])

    def score_of(which: Tensor) -> Tensor:
        seen = as_network_sees(images[which], torch.device(device))
        part = seen[:, :, window.low : window.high, window.low : window.high]
        return objective(part, which.to(device)).float()

    with torch.no_grad():
        try:
            scores = list(memory.in_batches(score_of, len(images)))
        except torch.OutOfMemoryError as error:
            raise memory.too_large(images.shape[1], device) from error
    return torch.cat(scores) if scores else torch.empty(0)


def _check_start(start: Tensor, settings: InversionSettings, num_icons: int) -> None:
    planes = 4 if settings.alpha else 3
    wanted = (num_icons, settings.size_px, settings.size_px, planes)
    if tuple(start.shape) != wanted or start.dtype != torch.uint8:
        raise ValueError(
            f"start is {start.dtype} of shape {tuple(start.shape)}; these icons need uint8 of {wanted}"
        )
