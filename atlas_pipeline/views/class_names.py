"""Classes as users name them, resolved to logit indices and labels."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from atlas_pipeline.config.run_settings import RunSettings, labels_digest, model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.images.listing import class_names
from atlas_pipeline.models.label_file import WORDNET_ID
from atlas_pipeline.models.labels import class_index, class_labels, labels_name_every_logit, wordnet_ids
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np

    from atlas_pipeline.models import Network

OtherNames = Callable[[], Iterator[Sequence[str] | None]]


def resolved_class(config: Config, name: str) -> tuple[int, str]:
    """The logit index of a class and its displayed label: ``(340, "zebra")``, ``(12, "class 12")``.

    Labels are unique: if two classes are called crane, each gets its index, as in ``crane (class 134)``.

    Args:   name: the class's name, index (``12``, ``class 12``) or WordNet id; also the name of its image
            folder, if there are as many folders as the network has classes.
    Raises: ModelError: no such class, or several. ConfigError: the sample keeps no attribution to it.
    """
    index, label = named_class(config, name)
    if index not in _attributed(config):
        raise ConfigError(
            f"class '{name}' has no attributions, because sample.attribution does not include it; add it "
            "there, or set sample.attribution to all. The sample stage then runs again, over every image"
        )
    return index, label


def named_class(config: Config, name: str) -> tuple[int, str]:
    """`resolved_class` for any class of the network, whether or not the sample keeps attributions to it.

    Raises: ModelError: no such class, or several.
    """
    names = _names(config)
    index = class_index(names, name, _others_of(config, len(names)))
    return index, _label(names, index)


def all_classes(config: Config) -> list[tuple[int, str]]:
    """Logit index and label of every class that the sample keeps attributions to, in order of index.

    The list is empty if sample.attribution is ``none``.

    Raises: ModelError: sample.attribution names a class that the network does not have.
    """
    names = _names(config)
    return [(index, _label(names, index)) for index in sorted(_attributed(config))]


def other_names(
    spec: ModelSpec, source: str, path: str | None, num_classes: int, label_column: str | None = None
) -> OtherNames:
    """A function that yields further names of the classes, for `class_index`.

    It yields the WordNet ids, then the class names of the images. Nothing is read before the iteration,
    because listing the shards of a data set may take long.
    """

    def names() -> Iterator[Sequence[str] | None]:
        yield wordnet_ids(spec, num_classes)
        yield class_names(source, path, label_column)

    return names


def _names(config: Config) -> tuple[str, ...]:
    return _network_names(*_key(config))


def _key(config: Config) -> tuple[bytes, str | None]:
    # A spec may hold a mapping, which is not hashable, but its pickle is. The pickle has only the path of the
    # labels file, so the key includes the digest of its content.
    return pickle.dumps(model_spec(config)), labels_digest(config)


@lru_cache(maxsize=4)
def _network_names(pickled: bytes, labels: str | None) -> tuple[str, ...]:
    """A name for every logit. The network is opened only if nothing else gives the number of logits."""
    spec: ModelSpec = pickle.loads(pickled)
    names = class_labels(spec)
    if names is None or not labels_name_every_logit(spec):
        return opened_network(spec, "cpu").class_names
    return names


def _attributed(config: Config) -> frozenset[int]:
    images = config.images
    place = images.source, images.path, images.label_column
    return _attributed_indices(*_key(config), config.sample.attribution, *place)


@lru_cache(maxsize=4)
def _attributed_indices(
    pickled: bytes,
    labels: str | None,
    attribution: str | tuple[str, ...],
    source: str,
    path: str | None,
    label_column: str | None,
) -> frozenset[int]:
    names = _network_names(pickled, labels)
    if isinstance(attribution, str):
        return frozenset(range(len(names)) if attribution == "all" else ())
    others = other_names(pickle.loads(pickled), source, path, len(names), label_column)
    return frozenset(class_index(names, name, others) for name in attribution)


def _others_of(config: Config, num_classes: int) -> OtherNames:
    images = config.images
    return other_names(model_spec(config), images.source, images.path, num_classes, images.label_column)


def _label(names: Sequence[str], index: int) -> str:
    name = names[index]
    return name if names.count(name) == 1 else f"{name} (class {index})"


def names_of_labels(settings: RunSettings, last: int) -> Sequence[str] | None:
    """Names for the images' labels: the images' own class names, else those of the network.

    A WordNet id among the images' names, such as a folder ``n03445777``, becomes the network's name for it.

    Args:    last: the largest label.
    Returns: Names by label; None if the images have none and the network has too few.
    """
    from atlas_pipeline.models import class_labels

    own = class_names(settings.source, settings.path, settings.label_column)
    networks = class_labels(settings.model)
    if own is not None:
        return own if networks is None else _without_ids(own, settings.model, networks)
    return networks if networks is not None and last < len(networks) else None


def _without_ids(names: Sequence[str], spec: ModelSpec, networks: Sequence[str]) -> list[str]:
    """Names with WordNet ids replaced by the network's class names; no two names become equal by it."""
    if not any(WORDNET_ID.fullmatch(name) for name in names):
        return list(names)
    of_id = {one: index for index, one in enumerate(wordnet_ids(spec, len(networks)) or ()) if one}
    others = {name.lower() for name in names}

    def name_of(name: str) -> str:
        if name not in of_id:
            return name
        label = _label(networks, of_id[name])
        return f"{label} ({name})" if label.lower() in others else label

    return [name_of(name) for name in names]


def classes_of_labels(settings: RunSettings, last: int, network: Network) -> np.ndarray | None:
    """The class that each image label stands for, by its name or WordNet id.

    Without a match by name, and with as many labels as classes, both are taken to have the same order.

    Args:    last: the largest label.
    Returns: (label,) int64, indices of logits; -1 where unknown. None if no label is matched.
    """
    import numpy as np

    names = [name.lower() for name in network.class_names]
    label_names = class_names(settings.source, settings.path, settings.label_column)
    if label_names is None:
        return np.arange(len(names)) if last + 1 == len(names) else None
    # A name that several classes share, such as ImageNet's 'crane', identifies none of them.
    known = {name: index for index, name in enumerate(names) if names.count(name) == 1}
    ids = wordnet_ids(settings.model, len(names))
    known |= {one: index for index, one in enumerate(ids or ()) if one}
    classes = np.array([known.get(name.lower(), -1) for name in label_names], dtype=np.int64)
    if len(classes) == len(names):
        in_order = np.arange(len(names))
        is_free = (classes < 0) & ~np.isin(in_order, classes)
        classes = np.where(is_free, in_order, classes)
    return classes if (classes >= 0).any() else None


def attributed_classes(
    attribution: str | Sequence[str], network: Network, others: OtherNames
) -> list[int] | None:
    """Logit indices that attributions are kept for; None if there are none.

    Args:   others: further names of the classes, see `other_names`.
    Raises: ModelError: a class that the network does not have; the message names the nearest ones.
    """
    from atlas_pipeline.models import class_index

    if attribution == "none":
        return None
    if attribution == "all":
        return list(range(network.num_classes))
    return [class_index(network.class_names, name, others) for name in attribution]
