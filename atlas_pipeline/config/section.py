"""The base of a config's sections, and the types that several of them use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A frozen section: unknown keys are refused, defaults are validated."""

    # Validate defaults too: an int 30 in place of 30.0 would change the fingerprint.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        populate_by_name=True,
        validate_default=True,
        # Infinity and NaN cannot be fingerprinted.
        allow_inf_nan=False,
    )


def _folder_name(name: str) -> str:
    if not name or name.startswith(".") or any(c in name for c in '/\\\0:*?"<>|'):
        raise ValueError("must be a plain folder name: no slashes, colons or wildcards, no dot in front")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


def _per_channel(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"must be three numbers, one per colour channel; write {[value] * 3}")
    return value


Colour = Annotated[tuple[float, float, float], BeforeValidator(_per_channel)]


def _one_as_list(value: Any) -> Any:
    """A single number or name as a list of one: ``--set grid.sizes=24``, ``--set layers=layer4``."""
    return [value] if isinstance(value, int | float | str) and not isinstance(value, bool) else value


OneOrMore = BeforeValidator(_one_as_list)
GridSizes = Annotated[tuple[Annotated[int, Field(ge=1, le=2000)], ...], OneOrMore]
Layers = Annotated[tuple[str, ...], OneOrMore]
ClassName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]
"""A class of the network: its name, its index (``12`` or ``class 12``) or its WordNet id."""
