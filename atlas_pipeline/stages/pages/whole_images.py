"""whole_images: small pictures of images that appear as patches, their predicted class, their activations.

The viewer follows an image through the layers with them. Their number is bounded, whatever the data set's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts, many
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.image_choice import chosen_images
from atlas_pipeline.tables.chosen_images import batches_of
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.image_keys import keys_of, shown_key
from atlas_pipeline.tables.image_rows import batch_size_of
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.viewer.image_files import (
    MAX_IMAGES,
    SampledPlaces,
    ShownImages,
    image_file,
    picture_files,
    picture_px,
)
from atlas_pipeline.viewer.sprites import NUM_CROPS, NUM_NEAREST
from atlas_pipeline.views.class_names import classes_of_labels, names_of_labels

if TYPE_CHECKING:
    from atlas_pipeline.models import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeImagesStepConfig:
    """num: nearest patches per cell that the viewer shows.

    labels, label_column: the source of the labels' names.
    """

    model: Mapping[str, Any]
    num: int
    positions_per_image: int
    labels: str | None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeImagesInputs:
    """The images; the layouts of whole layers, by layer; their cells and members, by layer and grid size."""

    index: Artefact
    layouts: Mapping[str, Artefact] = many("project")
    bins: Mapping[str, Artefact] = many("bin")
    members: Mapping[str, Artefact] = many("members")


WholeImagesJob = Job[WholeImagesStepConfig, WholeImagesInputs]


def _compute(task: Task, jobs: Sequence[WholeImagesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    chosen = chosen_images(_tiers(job), task["images"])
    if not len(chosen):
        return [Output(table=file_table({}))]
    network = opened_network(job.settings.model, runtime.device)
    seen = _Seen(job, network, runtime)
    px = picture_px(network.preprocess.crop)
    pictures = picture_files(seen.pictures(chosen), px)
    # An image that was readable when it was sampled may no longer be.
    chosen = np.array(seen.image_id, dtype=np.int64)
    if not len(chosen):
        return [Output(table=file_table({}))]
    files = {"images.js": image_file(_shown(job, network, seen), px, _layers(job, network, chosen))}
    return [Output(table=file_table(files | pictures), notes={"num_images": len(chosen)})]


def _tiers(job: WholeImagesJob) -> Iterator[np.ndarray]:
    """Image ids of the patches: coarser grids first, then by place among a cell's patches."""
    by_layer: dict[str, list[tuple[int, str]]] = {}
    for role in job.inputs.bins:
        layer, size = role.rsplit(" ", 1)
        by_layer.setdefault(layer, []).append((int(size), role))
    ranked = [[role for _, role in sorted(grids)] for grids in by_layer.values()]
    for number in range(max(map(len, ranked), default=0)):
        patches = [_patches(job, roles[number]) for roles in ranked if number < len(roles)]
        for place in range(NUM_CROPS):
            yield np.concatenate([image_id[where == place] for image_id, where in patches])


def _patches(job: WholeImagesJob, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Image id and place of each patch of a grid, (patch,) each, cell by cell.

    The nearest have the places from 0, the members those from ``NUM_NEAREST``.
    """
    nearest, at = _listed(job.inputs.bins[role], "examples")
    members, member_at = _listed(job.inputs.members[role], "members")
    is_shown = at < job.config.num
    return (
        np.concatenate([nearest[is_shown], members]),
        np.concatenate([at[is_shown], member_at + NUM_NEAREST]),
    )


def _listed(cells: Artefact, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Image id of each position in a column of lists, and its place in its list."""
    lists = cells.read([column])[column].combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return lists.flatten().field("image_id").to_numpy(), np.arange(len(starts)) - starts


class _Seen:
    """Reads images, and keeps their ids and the network's answers, but not the images."""

    def __init__(self, job: WholeImagesJob, network: Network, runtime: Runtime) -> None:
        self._job, self._network, self._runtime = job, network, runtime
        self.image_id: list[int] = []
        self.predicted: list[int] = []
        self.probability: list[float] = []

    def pictures(self, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """The images as (side, side, 3) uint8, in ascending order of their ids."""
        from atlas_pipeline.models.answers import answers

        runtime = self._runtime
        size = batch_size_of(runtime)
        batches = batches_of(
            self._job.inputs.index,
            chosen,
            self._job.settings,
            runtime.device,
            batch_size=size,
            num_workers=runtime.workers or 0,
        )
        with closing(batches):
            for batch in batches:
                if len(batch.image_id):
                    answer, probability = answers(self._network, batch.images, size)
                    self.image_id += batch.image_id.tolist()
                    self.predicted += answer.tolist()
                    self.probability += probability.tolist()
                    yield from batch.images.permute(0, 2, 3, 1).numpy()
                runtime.advance(len(batch.image_id) + len(batch.bad))


def _shown(job: WholeImagesJob, network: Network, seen: _Seen) -> ShownImages:
    image_id, predicted = np.array(seen.image_id), np.array(seen.predicted)
    keys = keys_of(job.inputs.index, seen.image_id)
    all_labels = job.inputs.index.read(["label"])["label"].to_numpy()
    label, last = all_labels[image_id], int(all_labels.max(initial=-1))
    names = names_of_labels(job.settings, last)
    classes = classes_of_labels(job.settings, last, network) if last >= 0 else None
    true = np.full(len(label), -1) if classes is None else np.where(label < 0, -1, classes[label])
    return ShownImages(
        image_id=image_id,
        keys=[shown_key(keys[one]) for one in seen.image_id],
        label=label,
        label_names={
            one: str(names[one]) if names else f"label {one}" for one in np.unique(label[label >= 0]).tolist()
        },
        predicted=predicted,
        probability=np.array(seen.probability),
        class_names=network.class_names,
        is_right=np.where(true < 0, -1, true == predicted),
    )


def _layers(job: WholeImagesJob, network: Network, chosen: np.ndarray) -> list[SampledPlaces]:
    from atlas_pipeline.models.receptive_field import map_sizes

    sizes = map_sizes(network, network.preprocess.crop)
    return [_places(job, layer, sizes[layer][1:], chosen) for layer in job.inputs.layouts]


def _places(job: WholeImagesJob, layer: str, map_size: tuple[int, int], chosen: np.ndarray) -> SampledPlaces:
    wanted, found, start = pa.array(chosen), [], 0
    # One part at a time: a layout may have a million rows.
    for part in job.inputs.layouts[layer].parts(["image_id", "row", "col", "x", "y"]):
        number = pa.array(np.arange(start, start + part.num_rows))
        here = part.append_column("number", number)
        found.append(here.filter(pc.is_in(here["image_id"], value_set=wanted)))
        start += part.num_rows
    table = pa.concat_tables(found)
    columns = {name: table[name].to_numpy() for name in ("image_id", "row", "col", "number")}
    return SampledPlaces(
        layer=layer,
        map_size=map_size,
        slot=np.searchsorted(chosen, columns["image_id"]),
        # A layer's layout lists all positions of an image in a row; an unreadable image has no rows at all.
        ordinal=columns["number"] % job.config.positions_per_image,
        row=columns["row"],
        col=columns["col"],
        xy=layout_xy(table),
    )


WHOLE_IMAGES = Stage(
    name="whole_images",
    version=1,
    config=WholeImagesStepConfig,
    inputs=WholeImagesInputs,
    unit="images",
    split=lambda job: [{"images": min(MAX_IMAGES, job.inputs.index.num_rows)}],
    size=lambda task: task["images"],
    compute=_compute,
    columns=FILES,
    uses_device=True,
    commands=("stitch",),
    publishes=Publishes.VIEWER,
    may_lag=True,
    viewer=lambda artefact: ViewerFacts(run={"wholeImages": artefact.notes.get("num_images", 0)}),
)


def steps(
    config: Config,
    index: Step,
    layouts: Mapping[str, Step],
    cells: Mapping[str, Mapping[int, Step]],
    members: Mapping[str, Mapping[int, Step]],
) -> Iterator[Step]:
    """The images that layer atlases show whole; none without members, for images that must stay private.

    Args: layouts: by layer. cells, members: the steps of `bin` and `members`, by layer and grid size.
    """
    if not any(members.values()):
        return
    by_role = {
        f"{role} {layer} {size}": step
        for role, steps_of in (("bin", cells), ("members", members))
        for layer, by_size in steps_of.items()
        for size, step in by_size.items()
    }
    yield Step(
        stage=WHOLE_IMAGES,
        config=WholeImagesStepConfig(
            model=model_config(config),
            num=config.stitch.examples,
            positions_per_image=config.sample.positions_per_image,
            labels=labels_digest(config),
            label_column=config.images.label_column,
        ),
        inputs={"index": index, **{f"project {layer}": step for layer, step in layouts.items()}, **by_role},
        settings=run_settings(config),
    )
