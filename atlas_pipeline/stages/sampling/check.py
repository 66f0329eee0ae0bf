"""check: test the network on a few images of the run, before anything is made with it.

All layers share one pass. An artefact holds the findings on its layer and those on the whole network.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import columns_of
from atlas_pipeline.engine.fingerprint import canonical_json
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_cut, opened_network
from atlas_pipeline.tables.chosen_images import batches_of
from atlas_pipeline.tables.narrowing import float16_losses, narrow

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models import Network
    from atlas_pipeline.models.proof import Proof
    from atlas_pipeline.models.proof_row import Row

NUM_IMAGES = 6
# Unreadable images are replaced by others, up to this many in all. `sample` refuses a set with too many bad.
_MAX_TRIED = 24
_ROWS = pa.schema(
    [
        ("layer", pa.string()),
        ("check", pa.string()),
        ("verdict", pa.string()),
        ("value", pa.float64()),
        ("said", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStepConfig:
    """use: see `models.proof_of_layer.LayerUse`. icons: the icon settings that depend on the network."""

    model: Mapping[str, Any]
    layer: str
    seed: int
    use: Mapping[str, Any]
    icons: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    """The images; the check takes a few of them."""

    index: Artefact


CheckJob = Job[CheckStepConfig, CheckInputs]


def _compute(task: Task, jobs: Sequence[CheckJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.models import check_layers

    spec = jobs[0].settings.model
    network = opened_network(spec, runtime.device)
    by_layer = {job.config.layer: job for job in jobs}
    check_layers(network, by_layer)
    images, names = _images(jobs[0], network, runtime.device)
    proof = _proof(network, images, names, by_layer, runtime.device)
    runtime.advance(NUM_IMAGES)
    outputs = []
    for layer, job in by_layer.items():
        rows = [row for row in proof.rows if row.layer in ("", layer)]
        if proof.reading is not None:
            rows += _storage_rows(layer, proof)
            rows += _icon_rows(job, rows, proof, runtime.device)
        table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_ROWS)
        notes = {"device": network.device.type, "num_images": len(images), "weights": network.weights_note}
        outputs.append(Output(table=table, notes=notes))
    return outputs


def _images(job: CheckJob, network: Network, device: str) -> tuple[torch.Tensor, list[str]]:
    """Images (image, 3, side, side) float32 in [0, 1], and their names; noise fills up unreadable ones."""
    import torch

    from atlas_pipeline.models.calibrate import noise_images

    index = job.inputs.index
    drawn = np.random.default_rng(job.config.seed).permutation(index.num_rows)[:_MAX_TRIED]
    images: list[torch.Tensor] = []
    names: list[str] = []
    keys = index.read(["key"])["key"]
    for start in range(0, len(drawn), NUM_IMAGES):
        ids = drawn[start : start + NUM_IMAGES]
        for batch in batches_of(index, ids, job.settings, device, batch_size=NUM_IMAGES):
            images += [image.float() / 255 for image in batch.images]
            names += [f"image {image_id} ('{keys[int(image_id)]}')" for image_id in batch.image_id]
        if len(images) >= NUM_IMAGES:
            break
    missing = NUM_IMAGES - len(images[:NUM_IMAGES])
    if missing:
        images += list(noise_images(network.preprocess.crop, 0, missing))
        names += ["an image of noise"] * missing
    return torch.stack(images[:NUM_IMAGES]).to(device), names[:NUM_IMAGES]


def _proof(
    network: Network, images: torch.Tensor, names: Sequence[str], jobs: Mapping[str, CheckJob], device: str
) -> Proof:
    import torch

    from atlas_pipeline.models.calibrate import seeded
    from atlas_pipeline.models.out_of_memory import is_out_of_memory
    from atlas_pipeline.models.proof import prove
    from atlas_pipeline.models.proof_of_layer import LayerUse

    uses = {layer: LayerUse(**job.config.use) for layer, job in jobs.items()}
    spec = next(iter(jobs.values())).settings.model

    def cut_at(layer: str) -> torch.nn.Module:
        return opened_cut(spec, layer, device)

    # Fixed seed: a network that draws random numbers gets the same ones at every check.
    with seeded(0), warnings.catch_warnings():
        # Silence warnings about unsupported derivatives: the findings report them.
        warnings.simplefilter("ignore")
        try:
            return prove(network, images, uses, cut_at, names)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Retry with fewer images, as sampling does.
        torch.cuda.empty_cache()
        return prove(network, images[:2], uses, cut_at, names)


def _storage_rows(layer: str, proof: Proof) -> list[Row]:
    """One finding on the precision lost in float16; parts that lose too much are stored as float32."""
    from atlas_pipeline.models.proof_row import Row

    assert proof.reading is not None
    feature_map = proof.reading.maps[layer].float().cpu()
    said = [_storage("activations", feature_map.permute(0, 2, 3, 1).flatten(0, 2).numpy(), (1,))]
    if layer in proof.attributions:
        said.append(_storage("attributions", proof.attributions[layer].float().cpu().numpy(), (0, 1)))
    return [Row(layer=layer, check="storage", verdict="ok", said="; ".join(filter(None, said)))]


def _storage(name: str, values: np.ndarray, axes: tuple[int, ...]) -> str:
    if not np.isfinite(values).all():
        return ""
    losses = float16_losses(values)
    lost = max(float(losses[1 - axis].max(initial=0.0)) for axis in axes)
    loses = "would overflow" if np.isinf(lost) else f"loses {100 * lost:.1g} % at most"
    return f"{name} {narrow(values, axes).dtype} (float16 {loses})"


def _icon_rows(job: CheckJob, rows: Sequence[Row], proof: Proof, device: str) -> list[Row]:
    """One finding from two steps of feature inversion towards real activations, run as `invert` will."""
    from atlas_pipeline.inversion import InversionSettings, invert
    from atlas_pipeline.models.proof_row import Row, guarded

    layer, icons = job.config.layer, job.config.icons
    has_gradient = any(
        row.layer == layer and row.check == "gradient" and row.verdict != "fails" for row in rows
    )
    if icons is None or not has_gradient:
        return []
    assert proof.reading is not None
    # Average over the map: the activation at the centre alone may be zero.
    directions = proof.reading.maps[layer][:2].float().mean(dim=(2, 3)).cpu()
    directions = directions[(directions != 0).any(dim=1)]
    if not len(directions):
        return []

    def rehearse() -> Row:
        found = invert(
            opened_cut(job.settings.model, layer, device),
            directions,
            seeds=list(range(len(directions))),
            settings=InversionSettings(**icons, steps=2, warm_steps=None),
            device=device,
        )
        return Row(
            layer=layer,
            check="icons",
            verdict="ok",
            value=float(found.fidelity.max()),
            said=f"two steps of inversion run at {icons['size_px']} px",
        )

    return guarded(layer, "icons", rehearse)


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    notes = [row for row in artefact.read().to_pylist() if row["verdict"] == "note"]
    return [f"{row['layer'] or 'the network'}: {row['said']}" for row in notes]


CHECK = Stage(
    name="check",
    version=2,
    config=CheckStepConfig,
    inputs=CheckInputs,
    unit="images",
    split=lambda job: [{}],
    size=lambda task: NUM_IMAGES,
    compute=_compute,
    columns=columns_of(_ROWS),
    uses_device=True,
    commands=("check",),
    is_checked=True,
    remarks=_remarks,
)


def step(sample: Step, icons: Mapping[str, Any] | None) -> Step:
    """The check of the network and layer of a sample.

    Args: icons: size_px and arithmetic of the layer's icons; None if the pipeline makes none.
    """
    sampling = sample.config
    return Step(
        stage=CHECK,
        config=CheckStepConfig(
            model=sampling.model,
            layer=sampling.layer,
            seed=sampling.seed,
            use={
                "attribution": "none" if sampling.attribution == "none" else sampling.attribution_method,
                "num_steps": sampling.integrated_steps or 1,
                "positions_per_image": sampling.positions_per_image,
                "maxpool_gradient": sampling.maxpool_gradient or "exact",
                "size_px": None if icons is None else icons["size_px"],
            },
            icons=icons,
        ),
        inputs={"index": sample.inputs["index"]},
        settings=sample.settings,
        layer=sample.layer,
        shared=f"check {canonical_json(sampling.model)}",
    )


def rows_of(artefacts: Iterable[Artefact]) -> list[dict[str, Any]]:
    """The findings of several layers' checks; those on the whole network come first, and once."""
    rows = [row for artefact in artefacts for row in artefact.read().to_pylist()]
    unique = {(row["layer"], row["check"], row["said"]): row for row in rows}
    return sorted(unique.values(), key=lambda row: bool(row["layer"]))
