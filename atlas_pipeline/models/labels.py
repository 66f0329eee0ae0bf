"""Class names: where they come from, and how a name becomes an index."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from atlas_pipeline.errors import ModelError, nearest_name
from atlas_pipeline.models.label_file import WORDNET_ID, read_label_file
from atlas_pipeline.models.sources import source_of
from atlas_pipeline.models.spec import ModelSpec

INDEX_PATTERN = re.compile(r"(?:class )?(\d+)", re.ASCII | re.IGNORECASE)
# WordNet ids of ImageNet's 1,000 classes (ILSVRC 2012), in index order.
IMAGENET_IDS = Path(__file__).with_name("imagenet_wordnet_ids.txt")
MAX_CANDIDATES = 5
# Names of the extra class that TensorFlow's networks put before ImageNet's first.
NUM_IMAGENET = 1000
BACKGROUND = ("background", "__background__", "dummy")


def class_labels(spec: ModelSpec, num_classes: int | None = None) -> tuple[str, ...] | None:
    """The class names of a network without opening it; None if there are none.

    Args:   num_classes: number of logits, if known. Names stated by the source are dropped if their number
            differs, since the network then has another head. Names from a labels file or a user's module must
            match the number.
    Raises: ModelError: the labels file is missing or holds no names by index, the counts differ, the model
            name is unknown, or user code fails.
    """
    own = None if spec.labels is not None else source_of(spec.source).labels(spec)
    return fit_labels(spec, own, num_classes)


def fit_labels(
    spec: ModelSpec, own: tuple[str, ...] | None, num_classes: int | None
) -> tuple[str, ...] | None:
    """The labels file's names, or else ``own``, checked against the number of logits.

    See ``class_labels``.
    """
    labels, where = own, f"LABELS of '{spec.name}'"
    if spec.labels is not None:
        labels, where = _read_labels(spec.labels, num_classes), f"model.labels: file '{spec.labels}'"
    if labels is None or num_classes in (None, len(labels)):
        return labels
    if spec.labels is None and not source_of(spec.source).has_user_labels:
        return None
    raise ModelError(f"{where} {_miscount(labels, num_classes)}")


def labels_name_every_logit(spec: ModelSpec) -> bool:
    """Whether the labels, if there are any, are sure to match the logits, without opening the network."""
    source = source_of(spec.source)
    if source.has_user_labels:
        return True
    # A weights file may have another head, and a list of synsets lacks InceptionV1's last logits.
    return not source.allows_missing_labels and (spec.labels is not None or spec.weights_kind != "file")


def wordnet_ids(spec: ModelSpec, num_classes: int) -> tuple[str, ...] | None:
    """WordNet id of every class (``n02391049``), "" where a class has none; None if there are none at all.

    The ids come from a labels file with synsets. Without one, a network with 1,000 classes is assumed to be
    an ImageNet classifier, whose classes are the 1,000 sorted ids.

    Raises: ModelError: the labels file cannot be read.
    """
    if spec.labels is not None and (ids := read_label_file(spec.labels).wordnet_ids):
        return tuple(ids.get(i, "") for i in range(num_classes))
    return tuple(IMAGENET_IDS.read_text("utf-8").split()) if num_classes == NUM_IMAGENET else None


def _read_labels(file: str, num_classes: int | None) -> tuple[str, ...]:
    """Names by index; where a list may have gaps, a class without a line is called ``class 12``."""
    found = read_label_file(file)
    num_names = max(found.names) + 1
    num_labels = max(num_classes or 0, num_names) if found.may_have_gaps else num_names
    return tuple(found.names.get(i, f"class {i}") for i in range(num_labels))


def _miscount(labels: Sequence[str], num_classes: int) -> str:
    """The message for labels and logits that differ in number."""
    counts = f"names {len(labels)} classes, but the network has {num_classes}; "
    has_background = labels[0].lower() in BACKGROUND
    if len(labels) == num_classes + 1 and labels[0] == "class 0":
        return counts + "its indices begin at 1, and those of the network at 0; number them from 0"
    if len(labels) == num_classes + 1 and has_background:
        return counts + f"leave out '{labels[0]}', the first name, which this network has no logit for"
    if len(labels) == NUM_IMAGENET and num_classes == NUM_IMAGENET + 1 and not has_background:
        return counts + "the first of TensorFlow's logits is the background: put a line 'background' first"
    if len(labels) < num_classes:
        return counts + f"give one per logit: there are none for class {len(labels)} to {num_classes - 1}"
    return counts + f"give one per logit: from '{labels[num_classes]}' on they have none"


def class_index(
    labels: Sequence[str], name: str, others: Callable[[], Iterable[Sequence[str] | None]] = tuple
) -> int:
    """The index of a class, from its label, its index (``12`` or ``class 12``) or another of its names.

    Case matters only if two labels differ in nothing else.

    Args:   labels: one per class.
            others: gives further lists of names, such as WordNet ids; used only if no label matches. A list
                whose length differs from that of ``labels`` is ignored.
    Raises: ModelError: no such class (the message lists similar names), or several classes with this name
            (ImageNet has two cranes).

    Example:
        >>> class_index(["disk", "star", "square"], "Star")
        1
        >>> class_index(["disk", "star", "square"], "class 2")
        2
    """
    if indices := _indices_named(labels, name):
        return _single_index(indices, name)
    by_index = INDEX_PATTERN.fullmatch(name)
    if by_index and int(by_index[1]) < len(labels):
        return int(by_index[1])
    for names in others():
        if names is not None and len(names) == len(labels) and (indices := _indices_named(names, name)):
            return _single_index(indices, name)
    raise ModelError(f"class '{name}' is not in the network's {len(labels)}; {_hint(labels, name)}")


def _indices_named(names: Sequence[str], name: str) -> list[int]:
    exact = [i for i, known in enumerate(names) if known == name]
    return exact or [i for i, known in enumerate(names) if known.lower() == name.lower()]


def _single_index(indices: Sequence[int], name: str) -> int:
    if len(indices) > 1:
        choices = " or ".join(f"'class {i}'" for i in indices)
        raise ModelError(
            f"class '{name}' is the name of {len(indices)} classes of the network; write {choices}"
        )
    return indices[0]


def _hint(labels: Sequence[str], name: str) -> str:
    if INDEX_PATTERN.fullmatch(name):
        return f"they are class 0 to class {len(labels) - 1}"
    if WORDNET_ID.fullmatch(name):
        return "it has no class of this WordNet id: write a name or an index"
    lower = {label.lower(): label for label in labels}
    # A user who asks for a cat may mean the Persian cat, however different the spelling is.
    likely = [label for low, label in lower.items() if name and name.lower() in low]
    likely += [lower[low] for low in difflib.get_close_matches(name.lower(), lower, n=MAX_CANDIDATES)]
    likely = likely or [label for label in [nearest_name(name, labels)] if label is not None]
    return "nearest: " + ", ".join(f"'{label}'" for label in list(dict.fromkeys(likely))[:MAX_CANDIDATES])
