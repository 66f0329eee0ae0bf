"""The card of a picture's page: what a list of pages says of it, in a file beside the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

CARD_FILE, PICTURE_FILE = "card.json", "picture.webp"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureCard:
    """A picture with a page.

    Attributes: file: its file name. label, probability: the class that the network predicts. layers: of the
                page, in order.

    >>> card = PictureCard(file="dog.jpg", label="beagle", probability=0.92, layers=("layer3",))
    >>> PictureCard.from_json(card.as_json()) == card
    True
    """

    file: str
    label: str
    probability: float
    layers: tuple[str, ...]

    def as_json(self) -> bytes:
        """The content of the card's file."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, content: bytes) -> PictureCard:
        """The card that a file holds.

        Raises: ValueError, KeyError, TypeError: the file holds no card.
        """
        body: dict[str, Any] = json.loads(content)
        return cls(
            file=str(body["file"]),
            label=str(body["label"]),
            probability=float(body["probability"]),
            layers=tuple(str(layer) for layer in body["layers"]),
        )
