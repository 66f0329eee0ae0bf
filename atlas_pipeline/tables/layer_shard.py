"""The part of a sample for one layer and one shard of images: activations, attributions and positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.stage import Job, Output
from atlas_pipeline.errors import ModelError
from atlas_pipeline.numerics.positions import effective_edge, relative_positions, spatial_positions
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.narrowing import Narrowing
from atlas_pipeline.views.class_names import attributed_classes, other_names

if TYPE_CHECKING:
    from atlas_pipeline.models import Network
    from atlas_pipeline.models.layer_samples import HostSample, LayerRequest

ComingRows = Callable[[], Mapping[str, np.ndarray]]
"""The columns of a batch, by name; the call waits until they have arrived from the GPU."""

COLUMNS = ("image_id", "label", "row", "col", "height", "width", "activation", "attribution")


class LayerShard:
    """Collects the rows of one layer and one task, batch by batch."""

    def __init__(self, job: Job, network: Network, index_rows: pa.Table):
        from atlas_pipeline.models.layer_samples import map_shape

        self.config, self.layer = job.config, job.config.layer
        self.rows: list[ComingRows] = []
        max_rows = len(index_rows) * self.config.positions_per_image
        # Attributions are also read by class, so their columns must be preserved too. Activations are read by
        # row only: a channel that hardly ever fires may lose precision.
        self._vectors = {"activation": Narrowing(max_rows, (1,)), "attribution": Narrowing(max_rows, (0, 1))}
        self._gathered: dict[str, list[np.ndarray]] = {}
        # The ids are ascending, because a listing has a fixed order: searchsorted below relies on it.
        self._ids, self._labels = index_rows["image_id"].to_numpy(), index_rows["label"].to_numpy()
        self._keys = index_rows["key"]
        settings = job.settings
        others = other_names(
            settings.model, settings.source, settings.path, network.num_classes, settings.label_column
        )
        self.classes = attributed_classes(self.config.attribution, network, others)
        self.num_channels, self.height, self.width = map_shape(network, self.layer)
        self.notes: dict[str, Any] = {
            "classes": self.classes,
            "num_classes": network.num_classes,
            "weights": network.weights_note,
            "height": self.height,
            "width": self.width,
            "edge": list(effective_edge(self.height, self.width, self.config.edge)),
        }

    def request(self, image_ids: np.ndarray) -> LayerRequest:
        """The sample that the layer needs of these images (image,)."""
        from atlas_pipeline.models.layer_samples import AttributionRequest, LayerRequest

        config = self.config
        relative = relative_positions(config.seed, image_ids, config.positions_per_image)
        how = None
        if self.classes is not None:
            how = AttributionRequest(
                method=config.attribution_method,
                num_steps=config.integrated_steps or 1,
                maxpool_gradient=config.maxpool_gradient or "exact",
                classes=None if config.attribution == "all" else tuple(self.classes),
            )
        positions = spatial_positions(relative, self.height, self.width, config.edge)
        return LayerRequest(layer=self.layer, positions=positions, attribution=how)

    def columns(
        self, image_ids: np.ndarray, request: LayerRequest, sample: HostSample, is_finite: bool
    ) -> dict[str, np.ndarray]:
        """The columns of a batch, one row per sampled position, all positions of an image together.

        Args:    image_ids: (image,). request, sample: of these images. is_finite: whether all values of the
                 batch are known to be finite.
        Returns: By name, each (image x position, ...); see ``COLUMNS``.
        Raises:  ModelError: an activation or attribution is NaN or infinite.
        """
        ids = np.repeat(image_ids, request.positions.shape[1])
        columns = {"activation": sample.activations.reshape(len(ids), -1)}
        if sample.attributions is not None:
            columns["attribution"] = sample.attributions.reshape(len(ids), -1)
        if not is_finite:
            for values in columns.values():
                self._check_finite(values, ids)
        if sample.remark is not None:
            self.notes["attribution_remark"] = sample.remark
        return columns | self._places(ids, request.positions)

    def _places(self, ids: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray]:
        size = np.broadcast_to(np.array([self.height, self.width], np.int16), (len(ids), 2))
        row_col = positions.reshape(-1, 2)
        return {
            "image_id": ids,
            "label": self._labels[np.searchsorted(self._ids, ids)].astype(np.int32),
            "row": row_col[:, 0],
            "col": row_col[:, 1],
            "height": size[:, 0],
            "width": size[:, 1],
        }

    def _check_finite(self, values: np.ndarray, ids: np.ndarray) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            image_id = int(ids[int(np.argmin(finite))])
            key = self._keys[int(np.searchsorted(self._ids, image_id))]
            raise ModelError(
                f"layer '{self.layer}' gives NaN or infinite values for image {image_id} "
                f"('{key}'); check the weights and model.preprocess, "
                f"or leave the image out"
            )

    def take_rows(self) -> list[ComingRows]:
        """The rows that are not gathered yet, which are the caller's from now on."""
        rows, self.rows = self.rows, []
        return rows

    def gather(self, coming: Sequence[ComingRows]) -> None:
        """Wait for rows and add them to the part, in order.

        Another thread may add the next batches meanwhile.

        Raises: ModelError: as ``columns``.
        """
        for rows in coming:
            self._add(rows())

    def _add(self, rows: Mapping[str, np.ndarray]) -> None:
        for name, values in rows.items():
            if name in self._vectors:
                self._vectors[name].add(values)
            else:
                self._gathered.setdefault(name, []).append(values)

    def output(self, bad: Sequence[Mapping[str, Any]]) -> Output:
        """The part as a table, with vectors as float16, or as float32 where float16 would lose too much."""
        self.gather(self.take_rows())
        if not self._gathered:
            self._add(self._no_rows())
        columns: dict[str, Any] = {name: np.concatenate(parts) for name, parts in self._gathered.items()}
        for name, vectors in self._vectors.items():
            if name != "attribution" or self.classes is not None:
                columns[name] = matrix_column(vectors.finished())
        return Output(
            table=pa.table({name: columns[name] for name in COLUMNS if name in columns}),
            notes={"bad": list(bad), **self.notes},
        )

    def _no_rows(self) -> dict[str, np.ndarray]:
        """Empty columns of the right types, for a task in which every image is bad."""
        columns = {"activation": np.empty((0, self.num_channels), np.float32)}
        if self.classes is not None:
            columns["attribution"] = np.empty((0, len(self.classes)), np.float32)
        return columns | self._places(np.empty(0, np.int64), np.empty((0, 1, 2), np.int16))
