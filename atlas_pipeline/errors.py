"""The tree of errors. Every message is one line: what, where, the remedy.

AtlasError                  any error that we raise on purpose
├── UserError               a mistake of the user: exit code 2, no traceback
│   ├── ConfigError         a key, a value or a name in the config
│   ├── ModelError          a network, its weights, its layers
│   │   └── WeightsError    weights that cannot be downloaded, or that do not exist
│   ├── ImagesError         the place of the images, or too many bad images
│   ├── ResourceError       disk full, read-only, no memory, no such device
│   ├── EmptyActivationsError   no activations to whiten by (numerics.whitening)
│   └── MissingInputError   a stage's input is missing and --no-deps was given
├── TasksFailedError        some tasks failed, the others are kept: exit code 3
├── BadImageError           an unreadable image, counted and left out (images.decode)
└── CorruptArtefactError    an artefact file is truncated or altered; the engine remakes it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AtlasError(Exception):
    """Any error that this package raises on purpose."""


class UserError(AtlasError):
    """A mistake of the user; the message gives the remedy."""


class ConfigError(UserError):
    """A config key, value or name that cannot be used."""


class ModelError(UserError):
    """A network that cannot be opened, or a layer that it does not have."""


class WeightsError(ModelError):
    """Weights that cannot be downloaded, or that do not exist.

    The message's remedy is a key of the config; a command without a config gives another.

    Attributes: reason: the message without its remedy. file: the files that may be given instead, in words.
    """

    def __init__(self, reason: str, file: str = "a file (.pt, .pth, .safetensors)") -> None:
        # Both are arguments of the error, so that it comes whole from another process.
        super().__init__(reason, file)
        self.reason, self.file = reason, file

    def __str__(self) -> str:
        return f"{self.reason}; set model.weights to {self.file}, or to 'random'"


class ImagesError(UserError):
    """Images that cannot be found, or too many that cannot be read."""


class ResourceError(UserError):
    """Disk, memory or device is not available as requested."""


class MissingInputError(UserError):
    """A stage was asked to run without the stages that it needs."""


class TasksFailedError(AtlasError):
    """Some tasks of a stage failed; finished tasks are kept."""


class CorruptArtefactError(AtlasError):
    """An artefact file does not match its manifest."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most similar to ``name``, ignoring case; None if no name is known."""
    by_lower = {n.lower(): n for n in reversed(list(known))}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
    return by_lower[nearest[0]] if nearest else None


def unknown_name(kind: str, name: str, known: Iterable[str], where: str, remedy: str = "") -> str:
    """An error line with the nearest known name: ``layer 'mixed4x' is not in demo; nearest: 'mixed4'``."""
    nearest = nearest_name(name, known)
    hint = f"; nearest: '{nearest}'" if nearest is not None else ""
    return f"{kind} '{name}' is not in {where}{hint}" + (f". {remedy}" if remedy else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 layer``, ``1,200 layers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
