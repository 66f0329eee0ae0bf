"""What can go wrong, as a tree. Every message is one line: what, where, the remedy.

AtlasError                  anything we raise on purpose
├── UserError               the user's mistake: exit code 2, no traceback
│   ├── ConfigError         a key, a value or a name in the config
│   ├── ModelError          a network, its weights, its layers
│   ├── ImagesError         where the images are, or too many bad ones
│   ├── ResourceError       disk full, read-only, no memory, no such device
│   ├── EmptyActivationsError   nothing to whiten by (numerics.whitening)
│   └── MissingInputError   a stage's input is not there and --no-deps was given
├── TasksFailedError        some tasks failed, the rest is kept: exit code 3
├── BadImageError           one image that cannot be read: counted and left out (images.decode)
└── CorruptArtefactError    an artefact file is cut short or altered; the engine remakes it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AtlasError(Exception):
    """Anything this package raises on purpose."""


class UserError(AtlasError):
    """The user's mistake; the message names the remedy."""


class ConfigError(UserError):
    """A config key, value or name that cannot be used."""


class ModelError(UserError):
    """A network that cannot be opened, or a layer it does not have."""


class ImagesError(UserError):
    """Images that cannot be found, or too many that cannot be read."""


class ResourceError(UserError):
    """Disk, memory or device is not there as asked."""


class MissingInputError(UserError):
    """A stage was asked to run without the stages it needs."""


class TasksFailedError(AtlasError):
    """Some tasks of a stage failed; what succeeded is kept."""


class CorruptArtefactError(AtlasError):
    """An artefact file is not what its manifest says."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, whatever the case; None where none is known."""
    by_lower = {n.lower(): n for n in reversed(list(known))}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
    return by_lower[nearest[0]] if nearest else None


def unknown_name(kind: str, name: str, known: Iterable[str], where: str, remedy: str = "") -> str:
    """One line that names the nearest known name: ``layer 'mixed4x' is not in demo; nearest: 'mixed4'``."""
    nearest = nearest_name(name, known)
    hint = f"; nearest: '{nearest}'" if nearest is not None else ""
    return f"{kind} '{name}' is not in {where}{hint}" + (f". {remedy}" if remedy else "")
