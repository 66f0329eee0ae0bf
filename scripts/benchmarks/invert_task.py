"""CPU seconds of an invert task beside the network's steps: python -m scripts.benchmarks.invert_task

Synthetic icons of 80 px, 512 channels, 13,000 cells. One thread: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import click
import numpy as np
import pyarrow as pa
import torch

from atlas_pipeline.inversion.icon_numbers import (
    legibility_numbers,
    real_crops,
    round_trip_on_device,
    unit_rows,
)
from atlas_pipeline.numerics import fidelity
from atlas_pipeline.pictures.png_codec import pixels, pngs_of

SIDE_PX, NUM_CHANNELS, NUM_CELLS, NUM_COARSER, NUM_CROPS = 80, 512, 13_000, 4000, 256
ResultT = TypeVar("ResultT")


def timed(name: str, work: Callable[[], ResultT], repeats: int = 3) -> ResultT:
    """Print the least CPU seconds of some repetitions; returns the last result."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    click.echo(f"{name:50} {min(seconds):7.3f}")
    return result


def waves(rng: np.random.Generator, num: int) -> np.ndarray:
    """Smooth images with a little noise, (image, side, side, 3) uint8: for PNGs of an icon's size."""
    across, down = rng.uniform(0, 24, (2, num, 1, 1, 3))
    row, col = np.mgrid[:SIDE_PX, :SIDE_PX][..., None] / SIDE_PX
    light = 127 + 100 * np.sin(across * col + down * row)
    return (light + rng.normal(0, 6, light.shape)).clip(0, 255).astype(np.uint8)


@click.command()
@click.option("--icons", default=128, show_default=True, help="icons of the task")
@click.option("--device", default="cpu", show_default=True, help="where round trips are ranked")
def main(icons: int, device: str) -> None:
    """Measure each piece of a task."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    means, coarser = (rng.random((num, NUM_CHANNELS), np.float32) for num in (NUM_CELLS, NUM_COARSER))
    activation = means[:icons] + rng.random((icons, NUM_CHANNELS), np.float32)
    samples = rng.standard_normal((2 * NUM_CHANNELS, NUM_CHANNELS))
    images, crops = waves(rng, icons), waves(rng, NUM_CROPS)
    crop_files, own = pa.chunked_array([pngs_of(crops)]), np.arange(icons)

    click.echo("once a process:")
    timed("crops decoded", lambda: pixels(crop_files))
    real = timed("crops measured", lambda: real_crops(crops))
    root = timed("root of the precision", lambda: fidelity.metric_root(samples.T @ samples))
    units = timed("means as unit vectors on the device", lambda: unit_rows(means, device))
    click.echo(f"for {icons} icons:")
    files = pa.chunked_array([timed("PNGs", lambda: pngs_of(images))])
    timed("start icons decoded, one for two cells", lambda: pixels(files.take(own[::2])))
    timed("start icons chosen", lambda: fidelity.nearest(means[:icons], coarser))
    timed("legibility", lambda: legibility_numbers(images, real.statistics))
    timed("fidelity, raw", lambda: fidelity.fidelity(activation, means[:icons]))
    timed("fidelity, whitened", lambda: fidelity.fidelity_whitened(activation, means[:icons], root))
    timed("round trips", lambda: fidelity.round_trip(activation, means, own))
    timed("round trips on the device", lambda: round_trip_on_device(activation, units, own))


if __name__ == "__main__":
    main()
