"""Generated images: textured shapes on textured backgrounds, each a pure function of (seed, index).

The part (stripes, bricks, windows...) at every pixel is known. Form identifies it; colour carries no
information.
"""

from atlas_pipeline.images.generated.compose import VERSION, image, label, part_at, part_map
from atlas_pipeline.images.generated.image_classes import CLASS_NAMES, PART_NAMES

__all__ = ["CLASS_NAMES", "PART_NAMES", "VERSION", "image", "label", "part_at", "part_map"]
