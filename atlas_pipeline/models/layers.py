"""The layers of a network: names, channels, map sizes and receptive fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atlas_pipeline.errors import ModelError, unknown_name
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.plain_module import without_wrappers


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer for images of a given size.

    receptive_field_px: side of the smallest square with every pixel that can change the activation at the
    centre position, at most the image's side; None if it cannot be measured. stride_px: pixels from one
    position to the next. sees_whole_image: whether that square is the whole image, due to depth or to a
    global operation. form: how the map is read from the layer's output; see ``MapForm``.
    """

    name: str
    kind: str
    num_channels: int
    height: int
    width: int
    receptive_field_px: int | None
    stride_px: int
    sees_whole_image: bool
    form: str


def list_layers(
    network: Network, size_px: int | None = None, names: Sequence[str] | None = None
) -> list[LayerInfo]:
    """List layers with a spatial map, in the order in which a forward pass finishes them.

    Receptive fields are measured, not derived; see ``receptive_field``. Fewer layers take less time.

    Args:   size_px: side of the square image; None: the network's own. names: layers with a map; None: all.
    Raises: ModelError: the network does not run on images of that size.

    Example:
        >>> from atlas_pipeline.models import ModelSpec, open_network
        >>> layers = list_layers(open_network(ModelSpec(source="demo")))
        >>> mixed4 = next(layer for layer in layers if layer.name == "mixed4")
        >>> mixed4.num_channels, mixed4.height, mixed4.width, mixed4.stride_px
        (128, 8, 8, 8)
    """
    from atlas_pipeline.models.receptive_field import map_sizes, receptive_fields, strides

    size = size_px or network.preprocess.crop
    wanted = set(network.runs if names is None else names)
    names = [name for name, run in network.runs.items() if run.is_map and name in wanted]
    shapes = map_sizes(network, size)
    if missing := [name for name in names if name not in shapes]:
        raise ModelError(f"layer '{missing[0]}' of {network.name} has no map of images of {size} px")
    fields = receptive_fields(network, names, size)
    steps = strides(network, names, size)
    return [
        LayerInfo(
            name=name,
            kind=network.runs[name].kind,
            num_channels=shapes[name][0],
            height=shapes[name][1],
            width=shapes[name][2],
            receptive_field_px=fields[name],
            stride_px=steps[name],
            sees_whole_image=fields[name] == size,
            form=str(network.runs[name].form),
        )
        for name in names
    ]


def check_layers(network: Network, names: Iterable[str]) -> None:
    """Check that all layers exist and have a spatial map.

    Raises: ModelError: no such layer, or no spatial map; the message names the nearest layer with one.
    """
    for name in names:
        run = network.runs.get(name)
        if run is not None and run.is_map:
            continue
        maps = [known for known, known_run in network.runs.items() if known_run.is_map]
        module_names = {known for known, _ in network.module.named_modules() if known}
        if name not in module_names:
            remedy = "All of them: atlas layers CONFIG"
            if (inner := without_wrappers(name)) in maps:
                raise ModelError(f"layer '{name}' of {network.name} is '{inner}' here. {remedy}")
            raise ModelError(unknown_name("layer", name, maps, network.name, remedy))
        reason = (
            "it is never run by itself"
            if run is None
            else run.refusal or f"it gives {_shape_text(run.shape)}"
        )
        raise ModelError(
            f"layer '{name}' of {network.name} has no spatial map: {reason}; "
            f"nearest that has one: '{_nearest_map(network, name, maps)}'"
        )


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "no single tensor" if shape is None else f"shape ({', '.join(['batch', *map(str, shape)])})"


def _nearest_map(network: Network, name: str, maps: list[str]) -> str:
    """The last map finished before ``name``; for a container, the last map inside it."""
    order = list(network.runs)
    inside = [known for known in maps if known.startswith(f"{name}.")]
    if inside:
        return inside[-1]
    if not maps:
        return "none"
    if name not in order:
        return maps[-1]
    before = [known for known in order[: order.index(name)] if known in maps]
    # A pooled 1 x 1 map has a single position, too few for an atlas.
    wider = [known for known in before if _positions(network, known) > 1]
    return (wider or before or maps)[-1]


def _positions(network: Network, name: str) -> int:
    run = network.runs[name]
    if run.form is None or run.shape is None:
        return 0
    rows, columns = run.form.grid(run.shape)
    return rows * columns
