"""Speed of sampling, neighbours, layout and icons against the device's own rates; memory of icons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, supported_activities

from atlas_pipeline.models import ModelSpec
from scripts.benchmarks.gpu_first_day.section import Row, Setup, Table, images
from scripts.benchmarks.inversion.cases import Case, timing_case
from scripts.benchmarks.inversion.profiling import shares
from scripts.benchmarks.inversion.roofline import (
    OperationLog,
    account,
    bound_seconds,
    ceilings,
    icon_step_operations,
    total_flops,
)

# Names of CUDA calls for which the host waits.
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cudaGraphLaunch")
FEW = 2


class Rates:
    """The device's rates, measured once: flop/s by arithmetic, and bytes/s of a copy."""

    _known: dict[Setup, dict[str, float]] = {}  # noqa: RUF012

    @classmethod
    def of(cls, setup: Setup) -> dict[str, float]:
        if setup not in cls._known:
            side = setup.choose(8192 if setup.device.startswith("cuda") else 2048, 64)
            cls._known[setup] = ceilings(setup.device, side)
        return cls._known[setup]


def rates(setup: Setup) -> Iterator[Table]:
    """The fastest matrix products and copy of this device."""
    measured = Rates.of(setup)
    rows = [{"rate": name, "T/s": rate / 1e12} for name, rate in measured.items()]
    yield Table("Rates of the device (flop/s by arithmetic, bytes/s of a copy)", rows)


def profiled(work: Callable[[], object], setup: Setup) -> tuple[Row, list[Row]]:
    """Waits, launches and the busy share of a call, and where its time goes."""
    on_gpu = setup.device.startswith("cuda") and ProfilerActivity.CUDA in supported_activities()
    work()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        seconds = setup.seconds(work, repeats=1)
    rows, waits, launches = [], 0, 0
    for event in profiler.key_averages():
        waits += event.count if event.key in _WAITS else 0
        launches += event.count if event.key in _LAUNCHES else 0
        if event.device_type == DeviceType.CPU:
            taken = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            rows.append({"operation": event.key, "calls": event.count, "seconds": taken / 1e6})
    # Two calls were profiled.
    busy = sum(row["seconds"] for row in rows) / 2 / seconds
    return {"waits": waits / 2, "launches": launches / 2, "busy share": busy}, shares(rows, 12)["parts"]


def sampling(setup: Setup) -> Iterator[Table]:
    """Images/s of the network's part of `atlas sample`: activations and attributions, batches in memory."""
    bandwidth, ceiling = Rates.of(setup)["bytes_per_s"], Rates.of(setup)["float32"]
    network, counted = setup.open(), setup.open("cpu")
    rows, parts = [], []
    every = len(setup.layers)
    for num_layers in setup.choose((1, 3, every), (1,)):
        layers = setup.layers[:: every // num_layers][:num_layers]
        with OperationLog() as log:
            _sampler(counted, layers, images(2, counted.preprocess.crop), "cpu")()
        bound_s = bound_seconds(log.operations, ceiling, bandwidth) / 2
        for batch in setup.choose((128, 512), (4,)):
            pixels = images(batch, network.preprocess.crop)
            pixels = pixels.pin_memory() if setup.device.startswith("cuda") else pixels
            work = _sampler(network, layers, pixels, setup.device)
            seconds = setup.seconds(work)
            account_row, shares_of = profiled(work, setup)
            rows.append(
                {
                    "layers": num_layers,
                    "batch": batch,
                    "images/s": batch / seconds,
                    "GFLOP an image": total_flops(log.operations) / 2 / 1e9,
                    "roofline images/s": 1 / bound_s,
                    "share of the roofline": bound_s * batch / seconds,
                    **account_row,
                }
            )
            parts = shares_of
    yield Table(f"Sampling, {setup.network}, images in memory", rows)
    yield Table("Sampling: where the last row's time goes", parts)


def _sampler(network: Any, layers: Sequence[str], pixels: torch.Tensor, device: str) -> Callable[[], object]:
    """A call that samples one batch, as the stage does."""
    import numpy as np
    import pyarrow as pa

    from atlas_pipeline.stages.sampling.sample import SampleStepConfig, add_batch
    from atlas_pipeline.tables.layer_shard import LayerShard

    ids = np.arange(len(pixels))
    index = pa.table({"image_id": ids, "label": ids.astype(np.int32), "key": ids.astype(str)})
    settings = SimpleNamespace(
        model=ModelSpec(source="demo"), source="generated", path=None, label_column=None
    )

    def job(layer: str) -> Any:
        config = SampleStepConfig(
            model={},
            layer=layer,
            seed=0,
            positions_per_image=1,
            edge=1,
            attribution="all",
            shard_size=len(pixels),
            maxpool_gradient="smooth",
        )
        return SimpleNamespace(config=config, settings=settings)

    def work() -> None:
        shards = [LayerShard(job(layer), network, index) for layer in layers]
        add_batch(ids, pixels, shards, network, device, len(pixels))

    return work


def neighbours(setup: Setup) -> Iterator[Table]:
    """Exact neighbours of generated activations."""
    from atlas_pipeline.layout.neighbors import neighbors
    from scripts.benchmarks.gpu_first_day.vectors import clusters

    rows = []
    for num, channels in setup.choose(((65_536, 512), (200_000, 512)), ((100, 8),)):
        vectors = clusters(num, channels)
        seconds = setup.seconds(
            lambda v=vectors: neighbors([v], len(v), 20, method="exact", device=setup.device), repeats=1
        )
        flops = 2.0 * num * num * channels
        rows.append(
            {
                "rows": num,
                "channels": channels,
                "seconds": seconds,
                "TFLOP/s": flops / seconds / 1e12,
                "share of bfloat16's rate": flops / seconds / Rates.of(setup)["bfloat16"],
            }
        )
        yield Table(f"Exact neighbours, {num:,} rows", rows[-1:])


def layout(setup: Setup) -> Iterator[Table]:
    """Epochs of two layouts at once, by the engine `gpu`."""
    from scripts.benchmarks.gpu_first_day.vectors import NUM_NEIGHBORS, LayoutCase

    for num in setup.choose((20_000, 100_000, 500_000), (60,)):
        case = LayoutCase.of(num, setup.device)
        many = setup.choose(50, 3)

        def epochs(num_epochs: int, case: LayoutCase = case) -> float:
            return setup.seconds(lambda: case.layouts(setup.device, num_epochs, num_seeds=2), repeats=1)

        few_s, many_s = epochs(2), epochs(many)
        counted, parts = profiled(lambda case=case: case.layouts(setup.device, 2, num_seeds=2), setup)
        row = {
            "vertices": num,
            "neighbours": NUM_NEIGHBORS,
            "ms an epoch": 1e3 * (many_s - few_s) / (many - 2),
            "seconds before the first epoch": few_s,
            "launches of 2 epochs": counted["launches"],
        }
        yield Table(f"Two layouts at once, {num:,} vertices", [row])
        yield Table("Layout: where the time goes", parts)


def inversion(setup: Setup) -> Iterator[Table]:
    """Icons/s by layer and batch; an icon takes 96 steps, of which half have transforms."""
    spec = ModelSpec(source="demo")
    if setup.network == "googlenet":
        spec = ModelSpec(source="torchvision", name="googlenet", weights="random")
    layers = setup.choose((setup.layers[0], setup.layers[len(setup.layers) // 2]), setup.layers[:1])
    side, batches = setup.choose(80, 16), setup.choose((128, 512, 1024, 2048), (2,))
    for layer in layers:
        case, counted = (
            timing_case(spec, layer, side, max(batches), device) for device in (setup.device, "cpu")
        )
        for arithmetic in setup.choose(("tf32", "bfloat16"), ("tf32",)):
            settings = replace(case.settings, arithmetic=arithmetic)
            operations = icon_step_operations(replace(counted, settings=settings))
            rows = []
            for batch in batches:
                seconds = _icon_step_seconds(replace(case, settings=settings), batch, setup)
                told = account(operations, Rates.of(setup), arithmetic, seconds)
                rows.append(
                    {
                        "batch": batch,
                        "icons/s": 1 / (settings_steps(setup) * seconds),
                        "ms a step": told["ms_per_icon_step"] * batch,
                        "GFLOP an icon-step": told["gflop_per_icon_step"],
                        "TFLOP/s": told["tflop_per_s"],
                        "share of the roofline": told["bound_over_measured"],
                    }
                )
            yield Table(f"Icons of {side} px, {layer}, {arithmetic}", rows)


def settings_steps(setup: Setup) -> int:
    """Steps of an icon by default."""
    from atlas_pipeline.inversion import InversionSettings

    return InversionSettings().steps


def _icon_step_seconds(case: Case, batch: int, setup: Setup) -> float:
    """Seconds of an icon-step: a long run minus a short one."""
    from atlas_pipeline.inversion import invert

    layer = case.cut()

    def run(steps: int) -> float:
        settings = replace(case.settings, steps=steps)
        return setup.seconds(
            lambda: invert(
                layer, case.directions[:batch], range(batch), settings, device=setup.device, batch_size=batch
            ),
            repeats=1,
        )

    more = setup.choose(24, 2)
    return max(1e-12, (run(FEW + more) - run(FEW)) / (more * batch))


def memory(setup: Setup) -> Iterator[Table]:
    """Peak memory of a batch of icons, measured, and predicted from trials of two sizes, as a run does."""
    from atlas_pipeline.inversion import invert

    if not setup.device.startswith("cuda"):
        yield Table("Memory of a batch of icons (only on a GPU)", [])
        return
    layer = setup.layers[len(setup.layers) // 2]
    side, batches = setup.choose(80, 16), setup.choose((128, 512, 1024, 2048), (16,))
    spec = ModelSpec(source="demo")
    if setup.network == "googlenet":
        spec = ModelSpec(source="torchvision", name="googlenet", weights="random")
    case = timing_case(spec, layer, side, max(batches), setup.device)
    part = case.cut()

    def peak_bytes(batch: int) -> int:
        torch.cuda.synchronize(setup.device)
        torch.cuda.reset_peak_memory_stats(setup.device)
        before = torch.cuda.memory_allocated(setup.device)
        settings = replace(case.settings, steps=FEW)
        goals = case.directions[:batch]
        invert(part, goals, range(len(goals)), settings, device=setup.device, batch_size=batch)
        return torch.cuda.max_memory_allocated(setup.device) - before

    few, more = setup.choose((8, 32), (2, 4))
    peak_bytes(few)  # also allocates what stays, such as the libraries' work space
    each = max(0, peak_bytes(more) - peak_bytes(few)) / (more - few)
    fixed = max(0, peak_bytes(few) - few * each)
    rows = []
    for batch in batches:
        measured = peak_bytes(batch)
        rows.append(
            {
                "batch": batch,
                "peak GB": measured / 1e9,
                "predicted GB": (fixed + each * batch) / 1e9,
                "predicted over measured": (fixed + each * batch) / max(1, measured),
            }
        )
    yield Table(f"Memory of a batch of icons of {side} px, {layer}", rows)
