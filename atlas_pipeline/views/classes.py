"""Classes as people name them: which logit they mean, and what to call it. Not a stage."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from atlas_pipeline.config.network import RunSettings, labels_digest, model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.images.listing import class_names
from atlas_pipeline.models.labels import class_index, class_labels, labels_name_every_logit, wordnet_ids
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    from atlas_pipeline.models import Network

OtherNames = Callable[[], Iterator[Sequence[str] | None]]


def resolved_class(config: Config, name: str) -> tuple[int, str]:
    """The logit of a class, and the label that people see: ``(340, "zebra")``, ``(12, "class 12")``.

    Two classes never have the same label: of two cranes one is ``crane (class 134)``.

    Args:   name: the class's name, index (``12``, ``class 12``), WordNet id, or the name of its folder of
            images where these are as many as the network's classes.
    Raises: ModelError: no such class, or several. ConfigError: the sample keeps no attribution to it.
    """
    names = _names(config)
    index = class_index(names, name, _others_of(config, len(names)))
    if index not in _attributed(config):
        raise ConfigError(
            f"class '{name}' has no attributions, for sample.attribution is a list without it; add it there, "
            "or set sample.attribution to all. The sample stage then runs again, over every image"
        )
    return index, _label(names, index)


def all_classes(config: Config) -> list[tuple[int, str]]:
    """Logit and label of every class that the sample keeps attributions to, by index; none with ``none``.

    Raises: ModelError: sample.attribution names a class that the network does not have.
    """
    names = _names(config)
    return [(index, _label(names, index)) for index in sorted(_attributed(config))]


def other_names(
    spec: ModelSpec, source: str, path: str | None, num_classes: int, label_column: str | None = None
) -> OtherNames:
    """What classes are called beside their labels, for `class_index`: WordNet ids, then the images' classes.

    Nothing is read before the lists are gone through: a listing of shards may be long.
    """

    def names() -> Iterator[Sequence[str] | None]:
        yield wordnet_ids(spec, num_classes)
        yield class_names(source, path, label_column)

    return names


def _names(config: Config) -> tuple[str, ...]:
    return _network_names(*_key(config))


def _key(config: Config) -> tuple[bytes, str | None]:
    # A spec may hold a mapping, which cannot be hashed; its pickle can. Of the labels only the path is in it.
    return pickle.dumps(model_spec(config)), labels_digest(config)


@lru_cache(maxsize=4)
def _network_names(pickled: bytes, labels: str | None) -> tuple[str, ...]:
    """A name for every logit; the network is opened only where nothing else says how many there are."""
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
    """The images' own class names; where they have none, the network's, if it has enough of them.

    Args: last: the largest label.
    """
    from atlas_pipeline.models import class_labels

    own = class_names(settings.source, settings.path, settings.label_column)
    if own is not None:
        return own
    networks = class_labels(settings.model)
    return networks if networks is not None and last < len(networks) else None


def attributed_classes(
    attribution: str | Sequence[str], network: Network, others: OtherNames
) -> list[int] | None:
    """Logit indices that attributions are kept for; None: none.

    Args:   others: what classes are called beside their labels, see `classes.other_names`.
    Raises: ModelError: a class the network does not have, the nearest named.
    """
    from atlas_pipeline.models import class_index

    if attribution == "none":
        return None
    if attribution == "all":
        return list(range(network.num_classes))
    return [class_index(network.class_names, name, others) for name in attribution]
