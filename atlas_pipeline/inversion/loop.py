"""The optimisation loop: icons enter the batch in order, and each leaves it when it is finished."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.inversion import batch_memory, schedule
from atlas_pipeline.inversion.canvas import Canvas, to_network_input
from atlas_pipeline.inversion.captured_step import Stepper
from atlas_pipeline.inversion.icon_batch import IconBatch, Optimizer
from atlas_pipeline.inversion.objectives import Objective
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.inversion.vignette import contrast_map
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.out_of_memory import is_out_of_memory

# With patience: steps between two checks for finished icons. Each check waits for the device.
_STEPS_BETWEEN_CHECKS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Finished icons of any objective, on the CPU, in order. P = 3, or 4 with `alpha`."""

    images: Tensor
    """(icon, S, S, P) uint8: red, green, blue, and opacity if P is 4."""
    steps: Tensor
    """(icon,) int32: steps taken."""


@ieee()
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
    """Optimise one image for each icon of an objective.

    An icon depends only on its goal, its seed and its start image. The other icons in its batch change it
    only by the rounding of the network's kernels. A batch that does not fit in memory is halved, and its
    icons start again.

    Args:    seeds: one per icon. start: (icon, S, S, P) uint8, icons to start from: they take `warm_steps`
             steps without transforms. magnitude: for image "maco", from `fourier.magnitude_spectrum`.
             batch_size: icons optimised together; None: 32 on a CPU; on a GPU as many as fit, up to 1,024.
             advance: called with the number of icons just finished.
    Raises:  ValueError: arguments of different lengths, shapes or types, or an invalid batch size.
             ModelError: the network rejects images of this size, or its map has an unexpected shape.
             ResourceError: not even one icon fits in memory.
    Example:

    >>> import torch
    >>> from atlas_pipeline.inversion import Channel
    >>> layer = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1).requires_grad_(False)
    >>> settings = InversionSettings(size_px=16, steps=8)
    >>> drawn = optimise(Channel(layer, [0, 3]), seeds=[0, 1], settings=settings)
    >>> drawn.images.shape, drawn.steps.tolist()
    (torch.Size([2, 16, 16, 3]), [8, 8])
    """
    settings = InversionSettings() if settings is None else settings
    if len(seeds) != objective.num_icons:
        raise ValueError(f"{objective.num_icons} icons but {len(seeds)} seeds; give one seed an icon")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    if start is not None:
        settings = schedule.warm_settings(settings)
        _check_start(start, settings, len(seeds))
    device = torch.device(device)
    field = objective.field(settings.size_px, device) if settings.vignette else None
    contrast = None if field is None else contrast_map(field, settings.vignette, settings)
    canvas = Canvas(settings, device, magnitude, contrast)
    if not len(seeds):
        return Drawn(
            torch.empty((0, settings.size_px, settings.size_px, canvas.num_planes), dtype=torch.uint8),
            torch.empty(0, dtype=torch.int32),
        )
    loop = _Loop(objective, seeds, settings, start, canvas, device, batch_size, advance)
    return loop.run()


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
            self._stepper = Stepper(self._optimizer, device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise batch_memory.out_of_memory_error(settings.size_px, device) from error
        self._batch_size = batch_size or self._chosen_batch_size(objective.network)

    def run(self) -> Drawn:
        """Optimise all icons."""
        steps_per_check = self._settings.steps if self._settings.patience is None else _STEPS_BETWEEN_CHECKS
        batch: IconBatch | None = None
        while self._waiting or batch is not None:
            in_batch = [] if batch is None else batch.numbers
            try:
                batch = self._stepper.held(self._fill(batch))
                in_batch = batch.numbers
                for _ in range(steps_per_check):
                    self._stepper.step(batch)
                batch = self._remove_finished(batch)
                continue
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self._batch_size == 1:
                    raise batch_memory.out_of_memory_error(self._settings.size_px, self._device) from error
            # Outside the except block: the traceback keeps the tensors that did not fit alive.
            self._waiting.extendleft(reversed([n for n in in_batch if self._images[n] is None]))
            batch = None
            self._stepper.release()
            self._batch_size = max(1, min(self._batch_size, len(self._waiting)) // 2)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        # The finished icons' numbers need the memory of the graphs.
        self._stepper.release()
        return Drawn(torch.stack([image for image in self._images if image is not None]), self._steps)

    def _fill(self, batch: IconBatch | None) -> IconBatch:
        """Fill the free slots of the batch with waiting icons."""
        free = self._batch_size - (0 if batch is None else len(batch.numbers))
        joining = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        if not joining:
            assert batch is not None
            return batch
        start = None if self._start is None else self._start[joining]
        try:
            new = self._optimizer.new_batch(joining, [self._seeds[i] for i in joining], start)
            return new if batch is None else batch.appended(new)
        except RuntimeError:
            # If memory ran out, they are tried again in a smaller batch.
            self._waiting.extendleft(reversed(joining))
            raise

    def _remove_finished(self, batch: IconBatch) -> IconBatch | None:
        """Store the finished icons and remove them from the batch."""
        done = self._optimizer.done(batch)
        new = [row for row, number in enumerate(batch.numbers) if done[row] and self._images[number] is None]
        if not new:
            return batch
        finished = batch.selected(new)
        images, steps = self._canvas.icon(finished.coefficients), finished.age.to(torch.int32).cpu()
        for number, image, taken in zip(finished.numbers, images, steps, strict=True):
            self._images[number] = image
            self._steps[number] = taken
        if self._advance is not None:
            self._advance(len(images))
        if all(done):
            return None
        kept = self._stepper.kept_rows(done, len(self._waiting), self._batch_size)
        return batch if len(kept) == len(done) else batch.selected(kept)

    def _chosen_batch_size(self, network: object) -> int:
        def step(num_icons: int) -> None:
            start = None if self._start is None else self._start[:num_icons]
            self._optimizer.step(
                self._optimizer.new_batch(list(range(num_icons)), self._seeds[:num_icons], start)
            )

        return batch_memory.chosen_batch(step, len(self._seeds), self._device, network, self._settings)


def score(objective: Objective, images: Tensor, device: str | torch.device = "cpu") -> Tensor:
    """Score finished icons without transforms, in float32; transparent icons are shown over mid grey.

    Args:    images: (icon, S, S, P) uint8, all icons of the objective, in order.
    Returns: (icon,) float32 on the CPU.
    Raises:  ResourceError: not even one icon fits in memory.
    Example:

    >>> import torch
    >>> from atlas_pipeline.inversion import Channel
    >>> red = torch.nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
    >>> red.weight[:] = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> score(Channel(red, [0]), torch.full((1, 8, 8, 3), 255, dtype=torch.uint8))
    tensor([1.])
    """
    window = objective.window(images.shape[1])

    def score_of(which: Tensor) -> Tensor:
        seen = to_network_input(images[which], torch.device(device))
        part = seen[:, :, window.low : window.high, window.low : window.high]
        return objective(part, which.to(device)).float()

    with ieee(), torch.no_grad():
        try:
            scores = list(batch_memory.in_batches(score_of, len(images), device))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise batch_memory.out_of_memory_error(images.shape[1], device) from error
    return torch.cat(scores) if scores else torch.empty(0)


def _check_start(start: Tensor, settings: InversionSettings, num_icons: int) -> None:
    planes = 4 if settings.alpha else 3
    wanted = (num_icons, settings.size_px, settings.size_px, planes)
    if tuple(start.shape) != wanted or start.dtype != torch.uint8:
        raise ValueError(
            f"start is {start.dtype} of shape {tuple(start.shape)}; these icons need uint8 of {wanted}"
        )
