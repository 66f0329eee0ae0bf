"""CPU against GPU: the numbers of each part, and every artefact of a small run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.benchmarks.gpu_first_day.section import Row, Setup, Table, images


def difference(found: Any, expected: Any) -> float:
    """Largest difference over the largest expected magnitude; infinite where shapes or NaNs differ."""
    found, expected = (torch.as_tensor(values).detach().cpu().double() for values in (found, expected))
    if found.shape != expected.shape or not torch.equal(found.isnan(), expected.isnan()):
        return float("inf")
    if not expected.numel():
        return 0.0
    largest = expected.nan_to_num().abs().max().clamp(min=1e-30)
    return float((found - expected).nan_to_num().abs().max() / largest)


def check(stage: str, quantity: str, largest: float, tolerance: float | None) -> Row:
    """One line of the table. tolerance: None where the difference is only reported."""
    verdict = "equal" if largest == 0 else "reported"
    if largest != 0 and tolerance is not None:
        verdict = "within" if largest <= tolerance else "FAILED"
    return {
        "stage": stage,
        "quantity": quantity,
        "largest difference": largest,
        "tolerance": tolerance,
        "verdict": verdict,
    }


def numbers(setup: Setup) -> Iterator[Table]:
    """Parts of the computation, on both devices."""
    for title, rows in (
        ("Network", _network(setup)),
        ("Precision of convolutions", _precisions(setup)),
        ("Icons", _icons(setup)),
        ("Repeatability on the device", _repeated(setup)),
    ):
        yield Table(title, list(rows))


def _network(setup: Setup) -> Iterator[Row]:
    from atlas_pipeline.models import feature_maps
    from atlas_pipeline.models.attribution import attribution
    from atlas_pipeline.models.attribution_mode import attribution_mode
    from atlas_pipeline.models.cut import cut

    layers = setup.choose(setup.layers, setup.layers[:1])
    found: dict[str, dict[str, Tensor]] = {}
    modes: dict[str, list[bool]] = {layer: [] for layer in layers}
    for device in ("cpu", setup.device):
        network = setup.open(device)
        pixels = images(2, network.preprocess.crop).to(device).float() / 255
        positions = torch.ones(2, 2, dtype=torch.long, device=device)
        with torch.no_grad():
            values = {f"map of {name}": m for name, m in feature_maps(network, pixels, layers).items()}
            values["logits"] = network.logits(pixels)
        for layer in layers:
            values[f"attributions of {layer}"] = attribution(network, pixels, layer, positions, "smooth")
            modes[layer] += [
                attribution_mode(network, None, layer, "smooth").through_suffix,
                getattr(cut(network, layer), "is_traced", True),
            ]
        found[device] = {name: value.cpu() for name, value in values.items()}
    for name, expected in found["cpu"].items():
        yield check("sample", name, difference(found[setup.device][name], expected), 1e-3)
    for layer, (suffix_here, traced_here, suffix_there, traced_there) in modes.items():
        same = (suffix_here, traced_here) == (suffix_there, traced_there)
        yield check("fast paths", f"cut and suffix of {layer}", 0.0 if same else float("inf"), 0.0)


def _precisions(setup: Setup) -> Iterator[Row]:
    from atlas_pipeline.models.arithmetic import ieee, tf32

    here, there = setup.open("cpu"), setup.open()
    pixels = images(2, here.preprocess.crop).float() / 255
    with torch.no_grad():
        expected = here.module(here.normalise(pixels))
        expected = expected if isinstance(expected, Tensor) else here.logits(pixels)

        def differs() -> float:
            found = there.module(there.normalise(pixels.to(setup.device)))
            return difference(found if isinstance(found, Tensor) else there.logits(pixels), expected)

        with ieee():
            yield check("network", "logits, TF32 off", differs(), 1e-3)
        with tf32():
            yield check("network", "logits, TF32 on", differs(), 5e-2)
        with torch.autocast(torch.device(setup.device).type, dtype=torch.bfloat16):
            yield check("network", "logits, bfloat16", differs(), 2e-1)


def _icons(setup: Setup) -> Iterator[Row]:
    from atlas_pipeline.inversion import Icons, InversionSettings, fourier, invert
    from atlas_pipeline.inversion.canvas import Canvas

    side, num = setup.choose(64, 32), setup.choose(16, 3)
    settings = InversionSettings(size_px=side, steps=setup.choose(32, 2), arithmetic="float32")
    coefficients = fourier.start_coefficients(range(num), settings)
    spectra = [
        Canvas(settings, torch.device(device)).planes(coefficients.to(device))
        for device in ("cpu", setup.device)
    ]
    yield check("invert", "inverse FFT of the spectra", difference(spectra[1], spectra[0]), 1e-5)

    def made(device: str) -> Icons:
        layer, num_channels = _cut(setup, device)
        directions = torch.rand(num, num_channels, generator=torch.Generator().manual_seed(0)) + 0.1
        return invert(layer, directions, range(num), settings, device=device)

    here, there = made("cpu"), made(setup.device)
    yield check("invert", "fidelity of icons", float((there.fidelity - here.fidelity).abs().max()), 1e-3)
    pixels = (there.images.float() - here.images.float()).abs().mean() / 255
    yield check("invert", "mean pixel of icons", float(pixels), None)
    again = made(setup.device)
    yield check("invert", "pixels of a second run", difference(again.images, there.images), None)


def _cut(setup: Setup, device: str) -> tuple[Any, int]:
    """The network up to a middle layer, and the number of its channels."""
    from atlas_pipeline.models.cut import cut

    network = setup.open(device)
    layer = setup.layers[len(setup.layers) // 2]
    part = cut(network, layer)
    with torch.no_grad():
        grey = torch.full((1, 3, network.preprocess.crop, network.preprocess.crop), 0.5, device=device)
        return part, part(grey).shape[1]


def _repeated(setup: Setup) -> Iterator[Row]:
    generator = torch.Generator().manual_seed(0)
    side = setup.choose(80, 8)
    canvas = torch.rand(16, 3, side, side, generator=generator).to(setup.device)
    angles = torch.rand(16, 2, 3, generator=generator).to(setup.device) - 0.5

    def gradient() -> Tensor:
        leaf = canvas.clone().requires_grad_(True)
        grid = torch.nn.functional.affine_grid(angles, [16, 3, side, side], align_corners=False)
        sampled = torch.nn.functional.grid_sample(leaf, grid, align_corners=False)
        return torch.autograd.grad(sampled.square().sum(), leaf)[0].cpu()

    first = gradient()
    worst = max(difference(gradient(), first) for _ in range(setup.choose(10, 1)))
    yield check("invert", "gradient of grid_sample, repeated", worst, None)


def layouts(setup: Setup) -> Iterator[Table]:
    """Exact neighbours against float64, and a layout against its own repetition."""
    from atlas_pipeline.layout.neighbors import neighbors
    from scripts.benchmarks.gpu_first_day.vectors import clusters

    num = setup.choose(4000, 80)
    vectors = clusters(num, setup.choose(256, 16))
    found = neighbors([vectors], num, 10, method="exact", device=setup.device)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - unit.astype(np.float64) @ unit.T.astype(np.float64)
    np.fill_diagonal(distances, 0)
    expected = np.sort(distances, axis=1)[:, :10]
    near = found.same.vertex
    yield Table(
        "Exact neighbours against float64",
        [
            check("neighbors", "distances", float(np.abs(found.distances[near] - expected).max()), 1e-5),
        ],
    )
    yield Table("Layout on the device", list(_layout(setup)))


def _layout(setup: Setup) -> Iterator[Row]:
    from scripts.benchmarks.gpu_first_day.vectors import LayoutCase

    case = LayoutCase.of(setup.choose(4000, 60), setup.device)
    first, again = (case.layouts(setup.device, num_epochs=5)[0] for _ in range(2))
    yield check("project", "positions of a second run", difference(again, first), 0.0)
    # After one epoch: kernels round the sums of two layouts differently, and every epoch enlarges it.
    here, there = (case.layouts(device, num_epochs=1)[0] for device in ("cpu", setup.device))
    together = case.layouts(setup.device, num_epochs=1, num_seeds=2)[0]
    yield check("project", "positions beside another seed", difference(together, there), 1e-4)
    yield check("project", "positions after one epoch", difference(there, here), 1e-4)


# Relative tolerances of docs/artefacts.md. Other columns are only reported: a layout and an icon are many
# steps, on whose way rounding grows.
TOLERANCES = {
    ("sample", "activation"): 1e-3,
    ("sample", "attribution"): 1e-3,
    ("neighbors", "distances"): 1e-5,
    ("invert", "fidelity"): 1e-3,
}
COMMANDS = ("sample", "project", "invert")


def whole_run(setup: Setup) -> Iterator[Table]:
    """The stages of a small run that compute on the device, each from the CPU's inputs."""
    from atlas_pipeline.config.loading import parse_config
    from atlas_pipeline.runs.commands import run

    with tempfile.TemporaryDirectory() as folder:
        here = parse_config(_small_config(setup, f"{folder}/cpu", "cpu"))
        run(here, quiet=True)
        expected = _tables(here)
        for command in COMMANDS:
            workspace = f"{folder}/{command}"
            shutil.copytree(f"{folder}/cpu", workspace)
            there = parse_config(_small_config(setup, workspace, setup.device))
            run(there, command=command, force=True, quiet=True)
            found = _tables(there, command)
            rows = [
                check(stage, name, _column_difference(table[name], expected[key][name]), tolerance)
                for key, table in found.items()
                for stage in [key.split()[0]]
                for name in table.column_names
                for tolerance in [TOLERANCES.get((stage, name))]
            ]
            yield Table(f"atlas {command} on the CPU's inputs", rows)


def _tables(config: Any, command: str | None = None) -> dict[str, Any]:
    """The artefacts of a run, or of a command, by stage and layer."""
    from atlas_pipeline.engine import Store, artefact_of
    from atlas_pipeline.runs.pipeline_file import steps_of

    store = Store(config.run.workspace)
    return {
        f"{step.stage.name} {step.layer}": artefact_of(step, store).read()
        for step in steps_of(config)
        if command is None or command in step.stage.commands
    }


def _column_difference(found: Any, expected: Any) -> float:
    """Largest relative difference of a column; of pictures the mean difference of a pixel."""
    from atlas_pipeline.pictures.png_codec import pixels

    if found.equals(expected):
        return 0.0
    if len(found) != len(expected):
        return float("inf")
    try:
        if str(found.type) == "binary":
            one, other = (pixels(column).astype(np.float64) for column in (found, expected))
            return float(np.abs(one - other).mean() / 255)
        return difference(*(np.array(column.to_pylist(), np.float64) for column in (found, expected)))
    except (TypeError, ValueError):
        return float("inf")


def _small_config(setup: Setup, workspace: str, device: str) -> dict[str, Any]:
    return {
        "name": "first-day",
        "model": {"source": "demo"},
        "images": {"source": "generated", "num_images": setup.choose(400, 30)},
        "layers": list(setup.choose(("mixed3", "mixed5"), ("mixed5",))),
        "sample": {"shard_size": 200},
        "project": {"num_neighbors": 5, "num_epochs": setup.choose(50, 2), "compare_seeds": not setup.quick},
        "grid": {"sizes": [setup.choose(6, 2)], "min_count": 2},
        "invert": {"size_px": setup.choose(64, 16), "steps": setup.choose(24, 1), "arithmetic": "float32"},
        "run": {"workspace": workspace, "device": device, "workers": 0},
    }
