"""The part of a sample for one layer and one shard of images: activations, attributions and positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    import torch

    from atlas_pipeline.models import Network

COLUMNS = ("image_id", "label", "row", "col", "height", "width", "activation", "attribution")


class LayerShard:
    """Collects the rows of one layer and one task, batch by batch."""

    def __init__(self, job: Job, network: Network, index_rows: pa.Table):
        self.config, self.layer = job.config, job.config.layer
        self.rows: list[dict[str, np.ndarray]] = []
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
        self.notes: dict[str, Any] = {
            "classes": self.classes,
            "num_classes": network.num_classes,
            "weights": network.weights_note,
        }

    def columns(
        self, image_ids: np.ndarray, images: torch.Tensor, feature_map: torch.Tensor, network: Network
    ) -> dict[str, np.ndarray]:
        """The columns of a batch, one row per sampled position, all positions of an image together.

        Args:    image_ids: (image,). images: (image, 3, side, side). feature_map: (image, channel, height,
                 width).
        Returns: By name, each (image x position, ...); see ``COLUMNS``.
        Raises:  ModelError: an activation or attribution is NaN or infinite.
        """
        import torch

        height, width = feature_map.shape[-2:]
        relative = relative_positions(self.config.seed, image_ids, self.config.positions_per_image)
        positions = spatial_positions(relative, height, width, self.config.edge)
        self.notes |= {
            "height": height,
            "width": width,
            "edge": list(effective_edge(height, width, self.config.edge)),
        }
        num_images, per_image = positions.shape[:2]
        which = torch.arange(num_images, device=feature_map.device)
        by_position: list[dict[str, np.ndarray]] = []
        for k in range(per_image):
            at = torch.from_numpy(positions[:, k].astype(np.int64)).to(feature_map.device)
            activation = feature_map[which, :, at[:, 0], at[:, 1]].float().cpu().numpy()
            self._check_finite(activation, image_ids)
            columns = {"activation": activation}
            if self.classes is not None:
                columns["attribution"] = self._attribution(network, images, at, feature_map)
                self._check_finite(columns["attribution"], image_ids)
            by_position.append(columns)
        out = {name: _interleave([c[name] for c in by_position]) for name in by_position[0]}
        ids = np.repeat(image_ids, per_image)
        size = np.broadcast_to(np.array([height, width], np.int16), (len(ids), 2))
        row_col = positions.reshape(-1, 2)
        return out | {
            "image_id": ids,
            "label": self._labels[np.searchsorted(self._ids, ids)].astype(np.int32),
            "row": row_col[:, 0],
            "col": row_col[:, 1],
            "height": size[:, 0],
            "width": size[:, 1],
        }

    def _attribution(
        self, network: Network, images: torch.Tensor, at: torch.Tensor, feature_map: torch.Tensor
    ) -> np.ndarray:
        from atlas_pipeline.models.ablation import ablation
        from atlas_pipeline.models.attribution import attribution, path_points
        from atlas_pipeline.models.attribution_mode import attribution_mode

        config, method = self.config, self.config.attribution_method
        classes = None if config.attribution == "all" else self.classes
        if method == "ablation":
            values = ablation(network, images, self.layer, at, feature_map=feature_map, classes=classes)
        else:
            values = attribution(
                network,
                images,
                self.layer,
                at,
                maxpool_gradient=config.maxpool_gradient or "exact",
                feature_map=feature_map,
                classes=classes,
                path=path_points(method, config.integrated_steps or 1),
            )
            mode = attribution_mode(network, None, self.layer, config.maxpool_gradient or "exact")
            if mode.remark is not None:
                self.notes["attribution_remark"] = mode.remark
        return values.float().cpu().numpy()

    def _check_finite(self, values: np.ndarray, image_ids: np.ndarray) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            image_id = int(image_ids[int(np.argmin(finite))])
            key = self._keys[int(np.searchsorted(self._ids, image_id))]
            raise ModelError(
                f"layer '{self.layer}' gives NaN or infinite values for image {image_id} "
                f"('{key}'); check the weights and model.preprocess, "
                f"or leave the image out"
            )

    def take_rows(self) -> list[dict[str, np.ndarray]]:
        """The rows that are not gathered yet, which are the caller's from now on."""
        rows, self.rows = self.rows, []
        return rows

    def gather(self, rows: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Add rows to the part, in order. Another thread may compute the next rows meanwhile."""
        for row in rows:
            for name, values in row.items():
                if name in self._vectors:
                    self._vectors[name].add(values)
                else:
                    self._gathered.setdefault(name, []).append(values)

    def output(self, bad: Sequence[Mapping[str, Any]], network: Network, device: str) -> Output:
        """The part as a table, with vectors as float16, or as float32 where float16 would lose too much."""
        self.gather(self.take_rows())
        if not self._gathered:
            self.gather([self._no_rows(network, device)])
        columns: dict[str, Any] = {name: np.concatenate(parts) for name, parts in self._gathered.items()}
        for name, vectors in self._vectors.items():
            if name != "attribution" or self.classes is not None:
                columns[name] = matrix_column(vectors.finished())
        return Output(
            table=pa.table({name: columns[name] for name in COLUMNS if name in columns}),
            notes={"bad": list(bad), **self.notes},
        )

    def _no_rows(self, network: Network, device: str) -> dict[str, np.ndarray]:
        """Empty columns of the right types, for a task in which every image is bad.

        They are the columns of one black image, with its rows dropped.
        """
        import torch

        from atlas_pipeline.models.capture import feature_maps

        side = network.preprocess.crop
        black = torch.zeros(1, 3, side, side, device=device)
        with torch.no_grad():
            feature_map = feature_maps(network, black, [self.layer])[self.layer]
        some_id = self._ids[:1]
        return {
            name: values[:0] for name, values in self.columns(some_id, black, feature_map, network).items()
        }


def _interleave(by_position: Sequence[np.ndarray]) -> np.ndarray:
    """A list over positions of (image, channel) -> (image x position, channel)."""
    stacked = np.stack(by_position, axis=1)
    return stacked.reshape(-1, stacked.shape[-1])
