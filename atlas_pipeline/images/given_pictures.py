"""Pictures given by path on the command line, as inputs of stages.

A picture is identified by the sha256 of its bytes, which belongs into a step's config; its path belongs into
the step's settings:

    found = find_pictures(["dog.jpg", "holiday/*.jpg"])
    picture = found.pictures[0]
    pixels = read_picture(picture.path, picture.digest, network.preprocess)  # (3, crop, crop) uint8
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atlas_pipeline.errors import ImagesError, counted
from atlas_pipeline.images.decode import BadImageError, decode, read_header

if TYPE_CHECKING:
    from atlas_pipeline.images.resize_crop import Geometry

MIN_SIDE_PX = 8
# Decoded, three bytes a pixel: 450 MB.
MAX_PICTURE_PIXELS = 150_000_000
MAX_FILE_BYTES = 1 << 29
NUM_NAMED = 4
DIGITS_IN_NAME = 8


@dataclass(frozen=True, slots=True)
class GivenPicture:
    """A picture that can be used.

    Attributes:
        path: absolute. digest: sha256 of its bytes, hexadecimal.
        name: for folders and addresses; of its file name and its digest, so that two pictures never share it.
        note: a fact that a reader must know, such as that the first frame of an animation is taken; or None.
    """

    path: str
    digest: str
    name: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class FoundPictures:
    """The usable pictures, in the order given, and the others with the reason: (path, reason)."""

    pictures: tuple[GivenPicture, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def lines(self) -> list[str]:
        """Lines for the reader of the results: pictures left out, and the notes of the others."""
        lines = [f"{picture.path}: {picture.note}" for picture in self.pictures if picture.note]
        if self.left_out:
            lines.insert(0, f"{counted(len(self.left_out), 'picture')} left out: {_named(self.left_out)}")
        return lines


def find_pictures(patterns: Sequence[str]) -> FoundPictures:
    """Find the pictures that paths and globs name, and decode each once to learn whether it can be used.

    The order is that of the patterns; files of a glob are sorted by path. A file that several patterns name
    comes once, as do files of equal bytes. `**` in a glob stands for any folders.

    Args:   patterns: paths or globs; a path that exists is never read as a glob.
    Raises: ImagesError: no pattern, or no picture that can be used; the first reasons are named.
    """
    if not patterns:
        raise ImagesError("no picture is given; name one or more, e.g. dog.jpg or 'photos/*.jpg'")
    pictures: dict[str, GivenPicture] = {}
    left_out: list[tuple[str, str]] = []
    seen: set[str] = set()
    for path, why_not in _paths_of(patterns):
        if path in seen:
            continue
        seen.add(path)
        try:
            picture = _usable(path, why_not)
        except BadImageError as error:
            left_out.append((path, str(error)))
            continue
        if picture.digest in pictures:
            left_out.append((path, f"the same bytes as '{pictures[picture.digest].path}'"))
        else:
            pictures[picture.digest] = picture
    if not pictures:
        raise ImagesError(f"none of the pictures given can be used: {_named(left_out)}")
    return FoundPictures(tuple(pictures.values()), tuple(left_out))


def read_picture(path: str, digest: str, preprocess: Geometry) -> np.ndarray:
    """Read a picture as the images of a run are read: decoded, resized and cropped for the network.

    Returns: (3, crop, crop) uint8, RGB.
    Raises:  ImagesError: as `picture_bytes`.
    """
    # A command that reads no picture loads no torch.
    from atlas_pipeline.images.resize_crop import apply_preprocess

    return apply_preprocess(decode(picture_bytes(path, digest), preprocess.resize), preprocess)


def picture_bytes(path: str, digest: str) -> bytes:
    """The bytes of a picture's file.

    Raises: ImagesError: the file is gone, or holds other bytes than when it was found.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ImagesError(f"picture '{path}' cannot be read ({error.strerror}); put it back") from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ImagesError(f"picture '{path}' has changed since the command began; run it again")
    return raw


def _paths_of(patterns: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """The absolute paths that the patterns name; beside a pattern that names none, the reason."""
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.exists() or not glob.has_magic(pattern):
            yield str(path.absolute()), None
            continue
        found = sorted(glob.glob(str(path), recursive=True))
        files = [str(Path(one).absolute()) for one in found if not Path(one).is_dir()]
        yield from ((file, None) for file in files)
        if not files:
            yield pattern, "no file matches it"


def _usable(path: str, why_not: str | None) -> GivenPicture:
    """Raises: BadImageError: the file cannot be used."""
    if why_not:
        raise BadImageError(why_not)
    try:
        status = Path(path).stat()
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        raise BadImageError("no such file" if is_missing else f"cannot be read: {error.strerror}") from None
    if Path(path).is_dir():
        raise BadImageError("is a folder; name its files, e.g. with /*.jpg")
    if not Path(path).is_file():
        raise BadImageError("is no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise BadImageError(f"has {status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}")
    return _inspected(path, status.st_size, status.st_mtime_ns)


# A command looks at its pictures several times: when it plans, and when it publishes.
@lru_cache(maxsize=4096)
def _inspected(path: str, num_bytes: int, changed_ns: int) -> GivenPicture:
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise BadImageError(f"cannot be read: {error.strerror}") from None
    if not raw:
        raise BadImageError("empty file")
    header = read_header(raw)
    size = f"{header.width:,} x {header.height:,} pixels"
    if min(header.width, header.height) < MIN_SIDE_PX:
        raise BadImageError(f"{size}, and each side needs at least {MIN_SIDE_PX}")
    if header.width * header.height > MAX_PICTURE_PIXELS:
        raise BadImageError(f"{size}, more than {MAX_PICTURE_PIXELS:,} in all; make it smaller")
    decode(raw)
    digest = hashlib.sha256(raw).hexdigest()
    stem = re.sub(r"[\W_]+", "-", Path(path).stem.lower()).strip("-") or "picture"
    note = f"{header.format} of several frames; the first is taken" if header.has_frames else None
    return GivenPicture(path, digest, f"{stem}-{digest[:DIGITS_IN_NAME]}", note)


def _named(left_out: Sequence[tuple[str, str]]) -> str:
    """The first pictures left out, with their reasons."""
    named = "; ".join(f"'{path}' ({reason})" for path, reason in left_out[:NUM_NAMED])
    more = len(left_out) - NUM_NAMED
    return f"{named}; {more:,} more" if more > 0 else named
