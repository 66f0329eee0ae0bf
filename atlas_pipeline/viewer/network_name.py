"""What people call a network."""

from __future__ import annotations

# What the function that makes a network is called, whichever it makes.
_NAMELESS = ("build", "build_model", "create", "create_model", "get_model", "make", "model", "net", "network")


def network_name(source: str, name: str | None) -> str:
    """``model.source`` and ``model.name`` in a word: ``networks/resnet.py:build`` is ``resnet``."""
    if source != "python" or name is None:
        return name or source
    place, _, attribute = name.rpartition(":")
    if attribute not in _NAMELESS:
        return attribute
    return place.replace("\\", "/").split("/")[-1].removesuffix(".py").split(".")[-1]
