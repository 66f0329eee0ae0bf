"""The members of a tar shard: which are images, which form a sample, and which label each image has.

A member's name splits at its first dot into a key and an extension: ``0012`` and ``seg.png``. A dot before a
digit belongs to the key: ``photo_v1.5.jpg`` is the image ``photo_v1.5``. An image whose extension has several
words, ``0012.seg.png``, is a field of the sample if there is an image ``0012.jpg``; otherwise it is an image
itself, since ``mr.smith.jpg`` is only a name with a dot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import BinaryIO, NamedTuple

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.formats import (
    COMPANION_NAMES,
    FIELD_EXTENSIONS,
    HEAD_BYTES,
    IMAGE_EXTENSIONS,
    why_left_out,
)
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.tar_members import Member, members
from atlas_pipeline.images.walk import HIDDEN

LABELS = ("cls", "json")
# Extensions of fields derived from an image; in a sample without other images, each may be an image itself.
DERIVED = frozenset(
    {"seg", "segmentation", "mask", "masks", "depth", "normal", "normals", "alpha", "label", "labels", "gt"}
    | {"annotation", "semantic", "instance", "panoptic", "heatmap", "saliency"}
)
# A key may have several images: the photo comes before images derived from it, such as masks.
EXTENSION_RANKS = {name: i for i, name in enumerate(("jpg", "jpeg", "jpe", "jfif", "webp", "avif"))}


class Part(NamedTuple):
    """A member of a sample; is_image: by its extension or its first bytes."""

    sample: str
    key: str
    extension: str
    member: Member
    is_image: bool


def parts_of(archive: BinaryIO, file: str, left_out: LeftOut) -> Iterator[Part]:
    """The images and companions of an archive, in its order; other members are counted in ``left_out``."""
    for member in members(archive):
        folder, slash, name = member.name.rpartition("/")
        if name.startswith("."):  # such as macOS's ._x.jpg
            left_out.companion(HIDDEN)
            continue
        if member.problem:
            left_out.other(member.problem, f"{file}/{member.name}")
            continue
        stem, _, extension = name.partition(".")
        key = sample = folder + slash + stem
        last = extension = extension.lower()
        if "." in extension:
            key, extension = _with_dots(sample, name[len(stem) + 1 :])
            last = extension.rpartition(".")[2]
        is_image = last in IMAGE_EXTENSIONS
        if not is_image and last not in FIELD_EXTENSIONS:
            if name.lower() in COMPANION_NAMES:
                left_out.companion(name.lower())
                continue
            archive.seek(member.start)
            if why := why_left_out(name, archive.read(min(member.size, HEAD_BYTES))):
                left_out.other(why, f"{file}/{member.name}")
                continue
            is_image = True
        yield Part(sample, key, extension, member, is_image)


def _with_dots(stem: str, extension: str) -> tuple[str, str]:
    """Key and extension of a name with several dots.

    Everything up to the last part that is no word, except the final extension, belongs to the key.
    """
    words = extension.split(".")
    num_in_key = max((i + 1 for i, word in enumerate(words[:-1]) if not _is_word(word)), default=0)
    return ".".join([stem, *words[:num_in_key]]), ".".join(words[num_in_key:]).lower()


def _is_word(word: str) -> bool:
    return word[:1].isalpha() and word.replace("_", "").replace("-", "").isalnum()


def samples(file: str, parts: Iterator[Part]) -> Iterator[list[Part]]:
    """Group adjacent members with the same name up to the first dot into samples.

    Raises: ImagesError: a key occurs in two places.
    """
    seen: set[str] = set()
    dotted: set[str] = set()  # keys that have fields only
    for _, parts_with_name in groupby(parts, key=lambda part: part.sample):
        sample = list(parts_with_name)
        plain = {part.key for part in sample if "." not in part.extension}
        names = set[str]()
        if len({(part.key, part.extension) for part in sample}) < len(sample):
            raise _in_two_places(file, sample[-1])
        for part in sample:
            is_loose = part.key not in plain
            name = f"{part.key}.{part.extension.rpartition('.')[0]}" if is_loose else part.key
            if name in seen or part.key in seen or (part.key in dotted and not is_loose):
                raise _in_two_places(file, part)
            names.add(name)
            if is_loose:
                dotted.add(part.key)
        seen |= names
        yield sample


def _in_two_places(file: str, part: Part) -> ImagesError:
    return ImagesError(
        f"key '{part.key}' is in two places of shard '{file}', the second at byte {part.member.header:,}; "
        f"the members of a sample must stand side by side, once"
    )


def images_of(sample: Sequence[Part], file: str, left_out: LeftOut) -> list[tuple[Member, Part | None]]:
    """The images of a sample, each with the member that holds its label; other members are counted."""
    images: dict[str, Part] = {}
    for part in sample:
        if not part.is_image or "." in part.extension:
            continue
        known = images.setdefault(part.key, part)
        if known is part:
            continue
        images[part.key], second = sorted((known, part), key=_rank)
        left_out.other("second image of its key", f"{file}/{second.member.name}")
    labels = {(part.key, part.extension): part for part in sample if part.extension.endswith(LABELS)}
    found = []
    for part in sample:
        if not part.is_image:
            left_out.companion(f".{part.extension}")
        elif images.get(part.key) is part:
            found.append((part.member, _label_of(part, labels)))
        elif "." in part.extension:
            if part.key in images or _is_derived_image(part, sample):
                left_out.companion(f".{part.extension}")
            else:
                found.append((part.member, _label_of(part, labels)))
    return found


def _is_derived_image(part: Part, sample: Sequence[Part]) -> bool:
    def is_derived(part: Part) -> bool:
        return not DERIVED.isdisjoint(part.extension.split("."))

    others = (other for other in sample if other.is_image and other.key == part.key)
    return is_derived(part) and not all(is_derived(other) for other in others)


def _rank(part: Part) -> int:
    return EXTENSION_RANKS.get(part.extension, len(EXTENSION_RANKS))


def _label_of(image: Part, labels: dict[tuple[str, str], Part]) -> Part | None:
    """The label beside an image: under its full name, or under a shorter name at one of its dots."""
    if not labels:
        return None
    word, dot, _ = image.extension.rpartition(".")
    for key, prefix in ((image.key, word + dot), (image.key, ""), (image.sample, "")):
        for kind in LABELS:
            if found := labels.get((key, prefix + kind)):
                return found
    return None
