"""Facts about an atlas for captions and methods paragraphs, from its JSON and the run's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from atlas_pipeline.images.sources import SOURCES
from atlas_pipeline.models.network_name import network_name
from atlas_pipeline.reader.atlas import Atlas
from atlas_pipeline.reader.run import AtlasRun

_METHODS = {"umap": "UMAP", "tsne": "t-SNE"}
_QUALITY = {"trustworthiness": "trustworthiness", "neighbor_recall": "neighbour recall"}
_SETTINGS = {
    "num_neighbors": "{} neighbours",
    "min_dist": "minimum distance {:g}",
    "num_epochs": "{} epochs",
    "perplexity": "perplexity {:g}",
    "fit_on": "fitted on {:,}",
    "engine": "{} engine",
    "metric": "{}",
}


@dataclass(frozen=True)
class Facts:
    """Facts about one atlas of one run."""

    run: AtlasRun
    atlas: Atlas

    @property
    def model(self) -> str:
        """The network's common name."""
        config = self.run.config.get("model")
        return (
            network_name(config["source"], config.get("name"))
            if config
            else str(self.atlas.document["model"])
        )

    @property
    def weights(self) -> str:
        return str(self.atlas.provenance["weights"])

    @property
    def random_weights(self) -> bool:
        return bool(self.atlas.provenance["random_weights"])

    @property
    def images(self) -> str:
        """Source of the images; a path is cut to its last two parts, because the rest is machine-specific.

        The path stands in brackets, so brackets in it become square.
        """
        images = self.run.config.get("images", {})
        if not images.get("path"):
            source = SOURCES.get(str(images.get("source")))
            return source.title if source else "images"
        path = "/".join(str(images["path"]).replace("\\", "/").rstrip("/").split("/")[-2:])
        return f"images ({path.translate(str.maketrans('()', '[]'))})"

    @property
    def sample(self) -> Mapping[str, Any]:
        """Config of the sampling."""
        return self.run.config.get("sample", {})

    @property
    def positions(self) -> int:
        """Sampled spatial positions per image."""
        return int(self.sample.get("positions_per_image", 1))

    @property
    def num_sampled(self) -> int:
        """Number of sampled activations of the layer, before any selection."""
        return int(self.selection.get("of") or self.atlas.num_activations)

    @property
    def seed(self) -> int:
        return int(self.run.config.get("seed", 0))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class of a class atlas, or the two classes of a comparison; empty for a layer atlas."""
        config = self.atlas.provenance.get("config", {})
        if "axis" in config:
            return tuple(config["axis"])
        if self.selection.get("class") is None:
            return ()
        return (config.get("label") or self.atlas.view,)

    @property
    def selection(self) -> Mapping[str, Any]:
        """How the activations of a view were selected; empty for a layer atlas."""
        return self.atlas.document.get("selection", {})

    @property
    def against(self) -> bool:
        """Whether the activations of a class atlas oppose its class."""
        return self.selection.get("sign") == "negative"

    @property
    def subject(self) -> str:
        """The subject of the atlas: ``all activations``, ``cat``, ``against cat``, ``cat or dog``."""
        names = " or ".join(self.classes) or "all activations"
        return f"against {names}" if self.against else names

    @property
    def layout(self) -> Mapping[str, Any]:
        """Config of the layout."""
        return self._input("project")

    @property
    def aligned(self) -> bool:
        """Whether the layers share one layout, in which an image keeps its place."""
        return "aligned" in self.layout

    @property
    def layout_method(self) -> str:
        """The layout method with its settings: ``UMAP (20 neighbours, minimum distance 0.01, cosine)``."""
        return self._layout_words([])

    @property
    def layout_words(self) -> str:
        """The layout method with its settings and its neighbourhood preservation."""
        values = {words: self.atlas.document["layout"].get(key) for key, words in _QUALITY.items()}
        return self._layout_words(
            [f"{words} {value:.3f}" for words, value in values.items() if isinstance(value, float | int)]
        )

    def _layout_words(self, quality: list[str]) -> str:
        method = _METHODS.get(str(self.layout.get("method")), "a layout")
        # A setting that is not set is left to the method, so its value is not known here.
        settings = [
            words.format(self.layout[key])
            for key, words in _SETTINGS.items()
            if self.layout.get(key) not in (None, "auto")
        ]
        if self.aligned:
            settings.append(f"{self.layout['aligned']['num_layers']} layers together")
        parts = [", ".join(part) for part in (settings, quality) if part]
        return f"{method} ({'; '.join(parts)})" if parts else method

    @property
    def inversion(self) -> Mapping[str, Any]:
        """Config of the inversion."""
        return self._input("invert").get("invert", {})

    @property
    def min_count(self) -> int:
        return int(self._input("bin").get("min_count", 1))

    @property
    def software(self) -> str:
        return str(self.atlas.provenance.get("software", "atlas-pipeline"))

    @property
    def fingerprint(self) -> str:
        return str(self.atlas.provenance.get("fingerprint", "unknown"))

    def median(self, column: str) -> float | None:
        """Median of a column of the cells; None without values."""
        values = self.atlas.cells.get(column)
        return None if values is None or not values.notna().any() else float(values.median())

    @property
    def round_trip(self) -> float | None:
        """Share of the icons that are nearest to their own cell."""
        ranks = self.atlas.cells["round_trip"].dropna()
        return float((ranks == 0).mean()) if len(ranks) else None

    def _input(self, role: str) -> Mapping[str, Any]:
        return self.atlas.provenance.get("inputs", {}).get(role, {}).get("config", {})


def differing_settings(facts: Sequence[Facts]) -> list[str]:
    """Names of the settings that differ between several atlases."""
    settings = [
        {
            # Class and sign are left out: the name of the atlas states them.
            "selection": (each.selection.get("filter"), each.selection.get("top")),
            "layout": each.layout_method,
            "grid": each.atlas.grid,
            "least count of a cell": each.min_count,
        }
        for each in facts
    ]
    return [name for name in settings[0] if len({setting[name] for setting in settings}) > 1]
