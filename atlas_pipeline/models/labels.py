"""Names of classes: where they come from, and from a name to its index."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from atlas_pipeline.errors import ModelError, nearest_name
from atlas_pipeline.models.label_file import WORDNET_ID, read_label_file
from atlas_pipeline.models.sources import source_of
from atlas_pipeline.models.spec import ModelSpec

BY_INDEX = re.compile(r"(?:class )?(\d+)", re.ASCII | re.IGNORECASE)
# The ids of ImageNet's 1,000 classes (ILSVRC 2012), in the order of their indices.
IMAGENET_IDS = Path(__file__).with_name("imagenet_wordnet_ids.txt")
MOST_CANDIDATES = 5
# What TensorFlow's networks call the class before ImageNet's first.
NUM_IMAGENET = 1000
BACKGROUND = ("background", "__background__", "dummy")


def class_labels(spec: ModelSpec, num_classes: int | None = None) -> tuple[str, ...] | None:
    """The class names of a network without opening it; None where none are known.

    Args:   num_classes: logits of the network, where known. Another count than torchvision's or the demo's
            own names have means another head: no names; a file's or a module's names must be as many.
    Raises: ModelError: the labels file is not there or holds no names by index, or the counts differ; an
            unknown name, or a user's code that fails.
    """
    own = None if spec.labels is not None else source_of(spec.source).labels(spec)
    return fit_labels(spec, own, num_classes)


def fit_labels(
    spec: ModelSpec, own: tuple[str, ...] | None, num_classes: int | None
) -> tuple[str, ...] | None:
    """The labels file's names, else ``own``, held against the number of logits; see ``class_labels``."""
    labels, where = own, f"LABELS of '{spec.name}'"
    if spec.labels is not None:
        labels, where = _read_labels(spec.labels, num_classes), f"model.labels: file '{spec.labels}'"
    if labels is None or num_classes in (None, len(labels)):
        return labels
    if spec.labels is None and not source_of(spec.source).states_labels:
        return None
    raise ModelError(f"{where} {_miscount(labels, num_classes)}")


def labels_name_every_logit(spec: ModelSpec) -> bool:
    """Whether the labels of a spec, where it has any, are as many as the network's logits, unopened."""
    source = source_of(spec.source)
    if source.states_labels:
        return True
    # A file of weights may bring another head; a list of synsets leaves InceptionV1's last logits out.
    return not source.leaves_out_labels and (spec.labels is not None or spec.weights_kind != "file")


def wordnet_ids(spec: ModelSpec, num_classes: int) -> tuple[str, ...] | None:
    """A WordNet id for every class (``n02391049``); "" for one that has none; None where none are known.

    A labels file of synsets says them. Else a network of 1,000 classes is taken for one of ImageNet's, where
    the index of a class is the place of its id among the 1,000 sorted ones.

    Raises: ModelError: the labels file cannot be read.
    """
    if spec.labels is not None and (ids := read_label_file(spec.labels).wordnet_ids):
        return tuple(ids.get(i, "") for i in range(num_classes))
    return tuple(IMAGENET_IDS.read_text("utf-8").split()) if num_classes == NUM_IMAGENET else None


def _read_labels(file: str, num_classes: int | None) -> tuple[str, ...]:
    """The names by index; of a list that may have gaps classes without a line are called by index."""
    found = read_label_file(file)
    num_names = max(found.names) + 1
    num_labels = max(num_classes or 0, num_names) if found.may_have_gaps else num_names
    return tuple(found.names.get(i, f"class {i}") for i in range(num_labels))


def _miscount(labels: Sequence[str], num_classes: int) -> str:
    """The message for names that are not as many as the logits."""
    counts = f"names {len(labels)} classes, but the network has {num_classes}; "
    has_background = labels[0].lower() in BACKGROUND
    if len(labels) == num_classes + 1 and labels[0] == "class 0":
        return counts + "its indices begin at 1, and those of the network at 0; number them from 0"
    if len(labels) == num_classes + 1 and has_background:
        return counts + f"leave out '{labels[0]}', the first name, which this network has no logit for"
    if len(labels) == NUM_IMAGENET and num_classes == NUM_IMAGENET + 1 and not has_background:
        return counts + "the first of TensorFlow's logits is the background: put a line 'background' first"
    if len(labels) < num_classes:
        return counts + f"give one a logit: there are none for class {len(labels)} to {num_classes - 1}"
    return counts + f"give one a logit: from '{labels[num_classes]}' on they have none"


def class_index(
    labels: Sequence[str], name: str, others: Callable[[], Iterable[Sequence[str] | None]] = tuple
) -> int:
    """The index of a class by its label, by its index (``12`` or ``class 12``) or by another name it has.

    Upper and lower case differ only where two labels differ by nothing else.

    Args:   labels: one a class.
            others: further lists of names, WordNet ids say, looked at only where the labels do not have the
            name; a list that is not as long as ``labels`` names other things.
    Raises: ModelError: no such class (the likeliest are named), or a name that several classes bear (ImageNet
            has two cranes).
    """
    if indices := _bearing(labels, name):
        return _only(indices, name)
    by_index = BY_INDEX.fullmatch(name)
    if by_index and int(by_index[1]) < len(labels):
        return int(by_index[1])
    for names in others():
        if names is not None and len(names) == len(labels) and (indices := _bearing(names, name)):
            return _only(indices, name)
    raise ModelError(f"class '{name}' is not in the network's {len(labels)}; {_hint(labels, name)}")


def _bearing(names: Sequence[str], name: str) -> list[int]:
    exact = [i for i, known in enumerate(names) if known == name]
    return exact or [i for i, known in enumerate(names) if known.lower() == name.lower()]


def _only(indices: Sequence[int], name: str) -> int:
    if len(indices) > 1:
        choices = " or ".join(f"'class {i}'" for i in indices)
        raise ModelError(
            f"class '{name}' is the name of {len(indices)} classes of the network; write {choices}"
        )
    return indices[0]


def _hint(labels: Sequence[str], name: str) -> str:
    if BY_INDEX.fullmatch(name):
        return f"they are class 0 to class {len(labels) - 1}"
    if WORDNET_ID.fullmatch(name):
        return "it has no class of this WordNet id: write a name or an index"
    lower = {label.lower(): label for label in labels}
    # Who asks for a cat may mean the Persian cat, however little the spelling is alike.
    likely = [label for low, label in lower.items() if name and name.lower() in low]
    likely += [lower[low] for low in difflib.get_close_matches(name.lower(), lower, n=MOST_CANDIDATES)]
    likely = likely or [label for label in [nearest_name(name, labels)] if label is not None]
    return "nearest: " + ", ".join(f"'{label}'" for label in list(dict.fromkeys(likely))[:MOST_CANDIDATES])
