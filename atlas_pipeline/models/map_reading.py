"""How every layer's output is read as a feature map, or why it cannot be: by its shape and by the probe.

A reading that the probe shows is accepted; a reading that it contradicts is rejected. Where the probe cannot
tell (a map of one position, a layer whose positions all answer alike), the reading suggested by the shape is
accepted if other layers agree. B = batch, C = channels, K = changed images, T = tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from atlas_pipeline.models.execution import Output, Run
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.map_probe import Changes, changes, patch_images
from atlas_pipeline.models.map_rules import forms_by_shape, is_inside_attention, possible_axes
from atlas_pipeline.models.map_signal import ARE_WINDOWS, Evidence, evidence
from atlas_pipeline.models.token_reading import TokenReading, read_tokens

Shape = tuple[int, ...]

WINDOWS = "its outputs are windows or heads, not rows and columns of the image"
UNTOLD = "nothing shows that its rows and columns are the image's"


def read_maps(
    module: nn.Module,
    outputs: Mapping[str, Output],
    batch: int,
    size_px: int,
    normalise: Callable[[Tensor], Tensor],
) -> dict[str, Run]:
    """Every submodule's part in a forward pass, and how its output is read as a feature map.

    Args: outputs: from a forward pass of ``batch`` images. size_px: their side. normalise: from images in [0,
          1] to the input of ``module``.
    """
    wanted = {name: possible_axes(output.shape, batch) for name, output in outputs.items()}
    wanted = {name: axes for name, axes in wanted.items() if axes}
    seen = changes(module, patch_images(size_px), normalise, wanted)
    by_shape = forms_by_shape(module, outputs, batch, size_px)
    # Layers that the probe did not reach keep the reading suggested by their shape.
    forms = {name: form for name, form in by_shape.items() if not seen.get(name)}
    refusals: dict[str, str] = {}

    maps = {n: seen[n] for n in outputs if seen.get(n) and len(outputs[n].shape or ()) == 4}
    findings = {
        n: {axes: evidence(change.positions, change.channels) for axes, change in maps[n].items()}
        for n in maps
    }
    for name, by_axes in findings.items():
        shown = {}
        for axes, finding in by_axes.items():
            form = MapForm(axes, held_in=outputs[name].held_in)
            rows, columns = form.grid((outputs[name].shape or ())[1:])
            is_expected = form == by_shape.get(name) and rows == columns
            if finding.is_clear or (finding.verdict == "shown" and is_expected):
                shown[form] = finding
        if shown:
            forms[name] = max(shown, key=lambda form: shown[form].strength)

    tokens = _read_all_tokens(outputs, by_shape, seen, size_px)
    for name, reading in tokens.items():
        if reading.order is not None:
            axes = wanted[name][0]
            order = () if reading.order.is_plain else reading.order.tokens
            forms[name] = MapForm(axes, reading.order.num_left_out, order, outputs[name].held_in)
        elif reading.refusal:
            refusals[name] = reading.refusal

    grids = {form.grid(_shape(outputs[n], form) or ()) for n, form in forms.items() if seen.get(n)}
    contradicted = {
        n for n in maps if any(finding.verdict == "contradicted" for finding in findings[n].values())
    }
    rejected_shapes = {outputs[n].shape for n in contradicted} - {
        outputs[n].shape for n in maps if n in forms
    }
    shapes = {n: output.shape for n, output in outputs.items()}
    for name in (n for n in maps if n not in forms):
        shape, expected = outputs[name].shape or (), by_shape.get(name)
        is_possible = expected is not None and shape not in rejected_shapes
        if (
            expected
            and is_possible
            and _accepts_shape_reading(findings[name].get(expected.axes), expected.grid(shape[1:]), grids)
        ):
            forms[name] = expected
        else:
            is_windows = is_inside_attention(name, shape, shapes) or (
                _holds_windows(shape, grids) and (name not in contradicted or shape[2] != shape[3])
            )
            is_windows |= any(finding.why == ARE_WINDOWS for finding in findings[name].values())
            refusals[name] = WINDOWS if is_windows else _contradiction(list(findings[name].values()))
    for name, output in outputs.items():
        if name not in forms and name not in refusals and _is_split(output.shape, batch):
            refusals[name] = WINDOWS
    return {
        name: Run(
            output.kind,
            _shape(output, forms.get(name)),
            output.times,
            forms.get(name),
            refusals.get(name, ""),
        )
        for name, output in outputs.items()
    }


def _read_all_tokens(
    outputs: Mapping[str, Output], by_shape: Mapping[str, MapForm], seen: Changes, size_px: int
) -> dict[str, TokenReading]:
    """Read layers with one axis of tokens; layers with the same number of tokens are read together."""
    groups: dict[int, dict[str, Tensor]] = {}
    for name in outputs:
        for change in seen.get(name, {}).values():
            if change.positions.dim() == 2:
                groups.setdefault(change.positions.shape[1], {})[name] = change.positions
    defaults = {name: form.num_left_out for name, form in by_shape.items() if form.is_tokens}
    return {
        n: reading
        for group in groups.values()
        for n, reading in read_tokens(group, defaults, size_px).items()
    }


def _accepts_shape_reading(
    finding: Evidence | None, grid: tuple[int, int], grids: set[tuple[int, int]]
) -> bool:
    """Whether to accept a reading that only the shape suggests.

    Windows and attention may both answer alike everywhere. Only attention has the rows and columns of layers
    with a shown map, or fewer than all of them, as in the last maps of small images.
    """
    if finding is None or finding.verdict != "untold" or grid[0] != grid[1]:
        return False
    return (
        finding.strength == 0 or grid in grids or grid[0] <= min((rows for rows, _ in grids), default=grid[0])
    )


def _contradiction(findings: Sequence[Evidence]) -> str:
    finding = max(findings, key=lambda one: one.num_places, default=None)
    if finding is None or finding.verdict != "contradicted":
        return UNTOLD
    return f"its rows and columns are not the image's: a changed patch {finding}"


def _holds_windows(shape: Shape, grids: set[tuple[int, int]]) -> bool:
    """Whether (B, window, position, C), (B, position, window, C) or (B, head, T, C) holds a known map."""
    known = {rows * columns for rows, columns in grids}
    return shape[1] * shape[2] in known or (shape[2] != shape[3] and shape[2] in known)


def _is_split(shape: Shape | None, batch: int) -> bool:
    """Whether an output has several entries per image, or more axes than a map."""
    if shape is None:
        return False
    return len(shape) > 4 or (len(shape) > 2 and shape[0] != batch and shape[0] % batch == 0 and shape[0] > 0)


def _shape(output: Output, form: MapForm | None) -> Shape | None:
    """The output's shape without the batch."""
    if output.shape is None:
        return None
    if form is not None and form.axes == "sequence first":
        return (output.shape[0], *output.shape[2:])
    return output.shape[1:]
