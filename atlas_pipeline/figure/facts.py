"""What captions and methods paragraphs say of an atlas: facts from its JSON and the run's config."""

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
    """One atlas of one run, in words."""

    run: AtlasRun
    atlas: Atlas

    @property
    def model(self) -> str:
        """The network as people call it."""
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
        """Where the images come from; of a path its last two parts: the rest is the machine's."""
        images = self.run.config.get("images", {})
        if not images.get("path"):
            source = SOURCES.get(str(images.get("source")))
            return source.title if source else "images"
        return f"images ({'/'.join(str(images['path']).replace(chr(92), '/').rstrip('/').split('/')[-2:])})"

    @property
    def sample(self) -> Mapping[str, Any]:
        """Config of the sample."""
        return self.run.config.get("sample", {})

    @property
    def positions(self) -> int:
        """Sampled spatial positions an image."""
        return int(self.sample.get("positions_per_image", 1))

    @property
    def num_sampled(self) -> int:
        """Activations of the layer, of which a selection takes some."""
        return int(self.selection.get("of") or self.atlas.num_activations)

    @property
    def seed(self) -> int:
        return int(self.run.config.get("seed", 0))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class of a class atlas, the two of a comparison; none of a layer atlas."""
        config = self.atlas.provenance.get("config", {})
        if "axis" in config:
            return tuple(config["axis"])
        if self.selection.get("class") is None:
            return ()
        return (config.get("label") or self.atlas.view,)

    @property
    def selection(self) -> Mapping[str, Any]:
        """How the activations of a view were chosen; empty of a layer atlas."""
        return self.atlas.document.get("selection", {})

    @property
    def against(self) -> bool:
        """Do the activations of a class atlas speak against its class, not for it?"""
        return self.selection.get("sign") == "negative"

    @property
    def subject(self) -> str:
        """What the atlas is of: ``all activations``, ``cat``, ``against cat``, ``cat or dog``."""
        names = " or ".join(self.classes) or "all activations"
        return f"against {names}" if self.against else names

    @property
    def layout(self) -> Mapping[str, Any]:
        """Config of the layout."""
        return self._input("project")

    @property
    def aligned(self) -> bool:
        """Were the layers laid out together, so that an image stays where it is?"""
        return "aligned" in self.layout

    @property
    def layout_method(self) -> str:
        """``UMAP (20 neighbours, minimum distance 0.01, cosine)``."""
        return self._layout_words([])

    @property
    def layout_words(self) -> str:
        """The same with how well it keeps neighbourhoods."""
        values = {words: self.atlas.document["layout"].get(key) for key, words in _QUALITY.items()}
        return self._layout_words(
            [f"{words} {value:.3f}" for words, value in values.items() if isinstance(value, float | int)]
        )

    def _layout_words(self, quality: list[str]) -> str:
        method = _METHODS.get(str(self.layout.get("method")), "a layout")
        # What is not set is the method's own choice, and not known here.
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
        """Of a column of the cells; None where there is none."""
        values = self.atlas.cells.get(column)
        return None if values is None or not values.notna().any() else float(values.median())

    @property
    def round_trip(self) -> float | None:
        """Share of the icons whose own cell is the nearest."""
        ranks = self.atlas.cells["round_trip"].dropna()
        return float((ranks == 0).mean()) if len(ranks) else None

    def _input(self, role: str) -> Mapping[str, Any]:
        return self.atlas.provenance.get("inputs", {}).get(role, {}).get("config", {})


def differing(facts: Sequence[Facts]) -> list[str]:
    """Which settings of several atlases are not the same in all of them."""
    settings = [
        {
            # Which class, for or against it, its name says.
            "selection": (of.selection.get("filter"), of.selection.get("top")),
            "layout": of.layout_method,
            "grid": of.atlas.grid,
            "least count of a cell": of.min_count,
        }
        for of in facts
    ]
    return [name for name in settings[0] if len({setting[name] for setting in settings}) > 1]
