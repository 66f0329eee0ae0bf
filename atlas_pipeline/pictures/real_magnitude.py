"""The magnitudes of real crops' spectra, which icons of `invert.image: maco` take as theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.pictures.png_codec import pixels
from atlas_pipeline.tables.artefact_cache import once_per_artefact

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.inversion import InversionSettings


def real_magnitude(crops: Artefact | None, settings: InversionSettings) -> torch.Tensor | None:
    """`inversion.magnitude_spectrum` of the crops; None without crops."""
    return None if crops is None else _of_crops(crops, settings)


@once_per_artefact(keep=2)
def _of_crops(crops: Artefact, settings: InversionSettings) -> torch.Tensor:
    import torch

    from atlas_pipeline.inversion import magnitude_spectrum

    return magnitude_spectrum(torch.tensor(pixels(crops.read(["crop"])["crop"])), settings)
