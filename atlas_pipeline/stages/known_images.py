"""The images that the viewer can name and find: a fixed subset, the same in all layers. Not a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from atlas_pipeline.images.listing import class_names

# Their places in every layer are loaded by a browser, and are numbered by a uint16.
MOST_IMAGES = 20_000


def known_images(num_images: int, seed: int) -> np.ndarray:
    """(image,) ascending image ids: all, or a uniform random ``MOST_IMAGES`` of them."""
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:MOST_IMAGES])


def names_of_labels(settings: Mapping[str, Any], last: int) -> Sequence[str] | None:
    """The images' own class names; where they have none, the network's, if it has enough of them.

    Args: settings: model, source, path and label_column. last: the largest label.
    """
    from atlas_pipeline.models import class_labels

    own = class_names(settings["source"], settings["path"], settings["label_column"])
    if own is not None:
        return own
    networks = class_labels(settings["model"])
    return networks if networks is not None and last < len(networks) else None
