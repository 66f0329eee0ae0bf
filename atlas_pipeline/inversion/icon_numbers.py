"""Numbers of finished icons: legibility with its references, the noise baseline, and round trips on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from atlas_pipeline.numerics import legibility

if TYPE_CHECKING:
    import torch

# Noise images whose cosine to a direction is the baseline for an icon's fidelity.
NUM_NOISE = 64
# Images measured at a time: their float64 planes then fit a core's cache.
_IMAGES_AT_ONCE = 32
# Bytes of the cosine table that a GPU holds at a time.
_TABLE_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class RealCrops:
    """Real crops as the reference for legibility.

    statistics: of the crops. numbers: their own mean share of saturated pixels and median distances.
    """

    statistics: legibility.RealStatistics
    numbers: dict[str, float]


def real_crops(crops: np.ndarray, num_threads: int = 1) -> RealCrops:
    """The reference for legibility that real crops (image, side, side, 3) uint8 give."""
    statistics = legibility.real_statistics(crops)
    numbers = {
        name: float(np.mean(values) if name == "saturated" else np.median(values))
        for name, values in legibility_numbers(crops, statistics, num_threads).items()
    }
    return RealCrops(statistics, numbers)


def legibility_numbers(
    images: np.ndarray, real: legibility.RealStatistics, num_threads: int = 1
) -> dict[str, np.ndarray]:
    """Legibility measures of images (image, side, side, 3) uint8 against real crops of that side, by name.

    A value does not depend on the other images, nor on the number of threads.
    """
    # Blocks of equal size: NumPy sums a lone image in another order.
    blocks = np.array_split(images, max(1, -(-len(images) // _IMAGES_AT_ONCE)))
    with ThreadPoolExecutor(num_threads, thread_name_prefix="legibility") as pool:
        numbers = list(pool.map(lambda block: _block_numbers(block, real), blocks))
    return {name: np.concatenate([of_block[name] for of_block in numbers]) for name in numbers[0]}


def _block_numbers(images: np.ndarray, real: legibility.RealStatistics) -> dict[str, np.ndarray]:
    return {
        "saturated": legibility.saturated_share(images),
        "spectrum_distance": legibility.spectrum_distance(images, real),
        "colour_distance": legibility.colour_distance(images, real),
    }


FeatureMap = Callable[["torch.Tensor"], "torch.Tensor"]
_NOISE_CACHE: WeakKeyDictionary[FeatureMap, dict[tuple[int, int, str], np.ndarray]] = WeakKeyDictionary()


def noise_activation(feature_map: FeatureMap, size_px: int, seed: int, device: str) -> np.ndarray:
    """Centre activation (image, channel) float32 of uniform noise images of the icons' size.

    Kept for as long as the feature map: all tasks of a layer use these images.
    """
    try:
        known = _NOISE_CACHE.setdefault(feature_map, {})
    except TypeError:
        # A callable that cannot be a weak dictionary key is measured again on each call.
        known = {}
    key = size_px, seed, device
    if key not in known:
        known[key] = _noise_activation(feature_map, size_px, seed, device)
    return known[key]


def _noise_activation(feature_map: FeatureMap, size_px: int, seed: int, device: str) -> np.ndarray:
    import torch

    from atlas_pipeline.inversion import centre_activation
    from atlas_pipeline.inversion.batch_memory import in_batches
    from atlas_pipeline.models.arithmetic import ieee

    # The generator takes 64 bits; seeds may be longer.
    generator = torch.Generator().manual_seed(seed % 2**63)
    noise = torch.rand(NUM_NOISE, 3, size_px, size_px, generator=generator)

    def activation(which: torch.Tensor) -> torch.Tensor:
        return centre_activation(feature_map(noise[which].to(device))).float()

    with ieee(), torch.no_grad():
        return torch.cat(list(in_batches(activation, NUM_NOISE, device))).numpy()


def unit_rows(vectors: np.ndarray, device: str) -> torch.Tensor:
    """Rows (row, channel) as unit vectors, float64, on the device; a row of zeros stays zero."""
    import torch

    rows = torch.tensor(vectors).to(device).double()
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(lengths > 0, lengths, 1.0)


def round_trip_on_device(activations: np.ndarray, unit_means: torch.Tensor, own: np.ndarray) -> np.ndarray:
    """`fidelity.round_trip`, computed on the device of the means.

    In float64, which no switch of a GPU's matrix arithmetic affects: ranks equal the CPU's, except between
    cells whose cosines are equal to rounding.

    Args:    activations: (icon, channel). unit_means: (cell, channel) from `unit_rows`.
             own: (icon,) index of each icon's own cell.
    Returns: (icon,) int32.
    """
    import torch

    device = unit_means.device
    icons = unit_rows(activations, str(device))
    own_cells = torch.as_tensor(own).to(device)
    rows_at_once = max(1, _TABLE_BYTES // (8 * max(1, len(unit_means))))
    ranks = []
    for rows, cells in zip(icons.split(rows_at_once), own_cells.split(rows_at_once), strict=True):
        cosines = rows @ unit_means.T
        # Ties count against the icon; subtract its own cell's tie with itself.
        ranks.append((cosines >= cosines.gather(1, cells[:, None])).sum(1) - 1)
    return torch.cat(ranks).to(torch.int32).cpu().numpy()
