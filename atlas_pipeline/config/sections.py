"""The config and its sections, one pydantic model each: what to compute, and how to run it.

``run`` and ``images.max_bad`` never affect a result; ``name`` only names the folder of the outputs.
`config.loading` reads files and overrides; `config.mistakes` words the errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from atlas_pipeline.config.section import ClassName, Colour, FolderName, Layers, Section
from atlas_pipeline.config.studies import (
    DirectionsConfig,
    DreamConfig,
    ImageConfig,
    TuningConfig,
    UnitsConfig,
)
from atlas_pipeline.config.views import (
    ClassConfig,
    ComparisonConfig,
    GridConfig,
    HighlightConfig,
    PatchTestConfig,
    VocabularyConfig,
)
from atlas_pipeline.errors import nearest_name
from atlas_pipeline.images import sources as image_sources
from atlas_pipeline.inversion import STYLES, InversionSettings
from atlas_pipeline.inversion.settings import SettingError
from atlas_pipeline.models import sources as model_sources


def _named_in(registry: Mapping[str, Any]) -> BeforeValidator:
    """A validator for a key of ``registry``, which may grow; its error reads like that of a ``Literal``."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in registry:
            return value
        *names, last = (f"'{name}'" for name in registry)
        expected = f"{', '.join(names)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})

    return BeforeValidator(check)


class PreprocessConfig(Section):
    """Overrides of the model's own preprocessing; omitted keys keep the model's values."""

    resize: int | None = Field(None, ge=1, description="shorter side, pixels")
    crop: int | None = Field(None, ge=1, description="side of the centre crop, pixels")
    mean: Colour | None = None
    std: Colour | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None


class ModelConfig(Section):
    """The network: where it comes from, its weights, its labels."""

    source: Annotated[str, _named_in(model_sources.SOURCES)]
    name: str | None = None
    weights: str | None = None
    weights_key: str | None = Field(None, description="name of the set of weights, for a file with several")
    labels: str | None = None
    preprocess: PreprocessConfig | None = None

    @model_validator(mode="after")
    def _named(self) -> ModelConfig:
        example = model_sources.SOURCES[self.source].example
        if example is not None and not self.name:
            raise ValueError(f"source '{self.source}' needs a name, e.g. name: {example}")
        return self


class ImagesConfig(Section):
    """The images: where they are, how many to take, how many unreadable ones to tolerate."""

    source: Annotated[str, _named_in(image_sources.SOURCES)]
    path: str | None = None
    num_images: int | None = Field(None, ge=1)
    root: str | None = Field(None, description="folder of the images that Parquet shards name by path")
    label_column: str | None = Field(None, min_length=1, description="column of the labels in Parquet shards")
    metadata: str | None = Field(None, description="CSV or Parquet table of metadata, joined on its `key`")
    max_bad: float = Field(0.01, ge=0, le=1, description="share of unreadable images above which a run stops")

    @model_validator(mode="after")
    def _located(self) -> ImagesConfig:
        source = image_sources.SOURCES[self.source]
        if source.takes_path and not self.path:
            raise ValueError(f"source '{self.source}' needs a path: a folder, or a glob of shards")
        if self.path and not source.takes_path:
            raise ValueError(f"source '{self.source}' takes no path")
        for other in image_sources.SOURCES.values():
            for key in other.keys:
                if getattr(self, key) and key not in source.keys:
                    raise ValueError(f"{key} is for {other.title}; leave it out, or set source: {other.name}")
        return self

    @property
    def wanted(self) -> int | None:
        """The number of images to take; None: all. A source without an end has a default of its own."""
        return self.num_images or image_sources.SOURCES[self.source].num_images


class SampleConfig(Section):
    """Activations at random spatial positions of each image, and their attribution to the logits."""

    positions_per_image: int = Field(1, ge=1)
    edge: int = Field(1, ge=0)
    attribution: Literal["all", "none"] | tuple[ClassName, ...] = "all"
    attribution_method: Literal["gradient", "integrated", "ablation"] = "gradient"
    integrated_steps: int = Field(8, ge=1, description="points on the path of `integrated`")
    maxpool_gradient: Literal["smooth", "exact"] = "smooth"
    shard_size: int = Field(16384, ge=1)
    predictions: bool = Field(False, description="predict every image's class, to colour cells by error rate")


class ProjectConfig(Section):
    """The layout of activations in the plane."""

    method: Literal["umap", "tsne"] = "umap"
    perplexity: float = Field(30.0, gt=0, description="for t-SNE")
    engine: Literal["auto", "cpu", "parallel", "gpu"] = "auto"
    fit_on: int | None = Field(
        None, ge=1, description="number of activations that UMAP is fitted on; null: all"
    )
    compare_seeds: bool = Field(True, description="lay out again with another seed, to measure the agreement")
    neighbors: Literal["auto", "exact", "approximate"] = "auto"
    num_neighbors: int = Field(20, ge=2)
    min_dist: float = Field(0.01, ge=0, le=1)
    num_epochs: int | None = Field(None, ge=1, description="null: chosen by the number of activations")
    metric: Literal["cosine", "euclidean"] = "cosine"
    align: bool = Field(False, description="lay out all layers together: an image keeps its place")
    align_regularisation: float = Field(0.01, ge=0, description="weight of the alignment between layers")
    align_window_size: int = Field(3, ge=1, description="layers on either side that a layer is aligned with")

    @model_validator(mode="after")
    def _align_needs_umap(self) -> ProjectConfig:
        if self.align and self.method == "tsne":
            raise ValueError("align needs UMAP; leave it out, or set method: umap")
        if self.align and self.engine not in ("auto", "parallel"):
            raise ValueError(f"align has its own engine, on the CPU's cores; leave engine {self.engine} out")
        return self

    @model_validator(mode="after")
    def _fit_on_needs_umap(self) -> ProjectConfig:
        if self.fit_on is not None and self.method == "tsne":
            raise ValueError("fit_on needs UMAP; leave it out, or set method: umap")
        if self.fit_on is not None and self.fit_on < self.num_neighbors:
            raise ValueError(
                f"fit_on {self.fit_on} is less than num_neighbors {self.num_neighbors}; "
                "raise it, e.g. to 100000"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertConfig(InversionSettings):
    """How to make the icons, and how to measure the finished ones."""

    style: Literal["vivid", "faithful"] = "vivid"
    yardsticks: bool = False
    judge: ModelConfig | None = None
    bank: str | None = None
    """Bank of finished icons to start from: its digest, or its folder (docs/icons.md)."""
    bank_cosine: float = 0.9
    """Least cosine between a cell's mean and the direction of the banked icon that it starts from."""

    def __post_init__(self) -> None:
        # Zero-argument super fails in a dataclass with slots, which is another class than the one written.
        InversionSettings.__post_init__(self)
        if not -1 <= self.bank_cosine <= 1:
            raise SettingError("bank_cosine", self.bank_cosine, "between -1 and 1")
        if self.bank is not None and self.warm_steps is None:
            raise SettingError(
                "warm_steps", None, "a number of steps, because invert.bank gives icons to start from"
            )

    def of_icons(self) -> dict[str, Any]:
        """The settings that change an icon, by name."""
        return {field.name: getattr(self, field.name) for field in fields(InversionSettings)}

    def of_unit_icons(self) -> dict[str, Any]:
        """The settings that change the icon of a single unit, which has no direction and no coarser grid."""
        of_directions = ("objective", "cosine_power", "whitening", "attempts", "warm_steps")
        return {name: value for name, value in self.of_icons().items() if name not in of_directions}


def _with_style(given: Any) -> Any:
    """Fill in the settings of the section's style; the section's own keys come first."""
    if not isinstance(given, Mapping):
        return given
    style = given.get("style", "vivid")
    return {**STYLES[style], **given} if isinstance(style, str) and style in STYLES else given


class StitchConfig(Section):
    """The atlas image: how icons are assembled."""

    scale: Literal["density", "full"] = "density"
    deep_zoom: bool = False
    deep_zoom_format: Literal["jpg", "png", "webp"] = "jpg"
    examples: int = Field(
        9,
        ge=0,
        le=9,
        description="real image patches shown per cell; 0: none, for images that must stay private",
    )


class RunConfig(Section):
    """How to run: never part of a fingerprint; results stay equal within the stated tolerance."""

    workspace: str = "data"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"


def _all_classes(classes: Any) -> Any:
    return [{"class": "all"}] if classes == "all" else classes


class Config(Section):
    """The config of a whole run."""

    name: FolderName
    seed: int = Field(0, ge=0)
    model: ModelConfig
    images: ImagesConfig
    layers: Layers = Field(min_length=1)
    sample: SampleConfig = SampleConfig()
    project: ProjectConfig = ProjectConfig()
    grid: GridConfig = GridConfig()
    invert: Annotated[InvertConfig, BeforeValidator(_with_style)] = InvertConfig(**STYLES["vivid"])
    stitch: StitchConfig = StitchConfig()
    classes: Annotated[tuple[ClassConfig, ...], BeforeValidator(_all_classes)] = ()
    comparisons: tuple[ComparisonConfig, ...] = ()
    highlights: tuple[HighlightConfig, ...] = ()
    vocabularies: tuple[VocabularyConfig, ...] = ()
    patch_test: PatchTestConfig = PatchTestConfig()
    units: UnitsConfig | None = None
    tuning: TuningConfig | None = None
    image: ImageConfig = ImageConfig()
    dream: DreamConfig | None = None
    directions: DirectionsConfig | None = None
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _each_layer_once(self) -> Config:
        if len(set(self.layers)) != len(self.layers):
            raise ValueError("layers: a layer is named twice")
        return self

    @model_validator(mode="after")
    def _layers_to_align(self) -> Config:
        if self.project.align and len(self.layers) == 1:
            raise ValueError(
                f"project.align lays out several layers together, and the run has '{self.layers[0]}' alone; "
                "name another layer in layers, or leave align out"
            )
        return self

    @model_validator(mode="after")
    def _views_of_sampled_layers(self) -> Config:
        for section in ("classes", "comparisons", "highlights", "vocabularies"):
            for entry in getattr(self, section):
                for layer in entry.layers or ():
                    if layer not in self.layers:
                        raise ValueError(
                            f"{section}: layer '{layer}' is not among the run's layers; "
                            f"nearest: '{nearest_name(layer, self.layers)}'"
                        )
                if self.sample.attribution == "none":
                    raise ValueError(
                        f"{section} need attributions, and sample.attribution is none; set it to all, or to "
                        "a list of classes. The sample stage then runs again over every image: one forward "
                        "pass, and a forward-mode product for each layer"
                    )
        return self

    @model_validator(mode="after")
    def _only_units_of_their_layers(self) -> Config:
        for name, section, layers in (
            ("units", self.units, self.unit_layers),
            ("tuning", self.tuning, self.tuning_layers),
        ):
            for unit in () if section is None else section.only:
                layer = unit.rpartition(":")[0]
                if layer not in layers:
                    raise ValueError(
                        f"{name}.only: layer '{layer}' of '{unit}' is not among the layers of {name}; "
                        f"nearest: '{nearest_name(layer, layers)}'"
                    )
        return self

    @model_validator(mode="after")
    def _directions_of_sampled_layers(self) -> Config:
        for layer in self.direction_layers:
            if layer not in self.layers:
                raise ValueError(
                    f"directions.layers: layer '{layer}' is not sampled: it is not among the run's layers; "
                    f"nearest: '{nearest_name(layer, self.layers)}'"
                )
        return self

    @property
    def unit_layers(self) -> tuple[str, ...]:
        """The layers whose units get pages."""
        if self.units is None:
            return ()
        return self.units.layers or self.layers

    @property
    def tuning_layers(self) -> tuple[str, ...]:
        """The layers whose units' tuning is measured."""
        if self.tuning is None:
            return ()
        return self.tuning.layers or self.layers

    @property
    def direction_layers(self) -> tuple[str, ...]:
        """The layers that are taken apart into atoms."""
        if self.directions is None:
            return ()
        return self.directions.layers or self.layers

    def with_units_of_tuning(self) -> Config:
        """The config that looks at the units of the tuning's layers, with its own settings of ``units``."""
        units = (self.units or UnitsConfig()).model_copy(update={"layers": self.tuning_layers, "only": ()})
        return self.model_copy(update={"units": units})

    def to_yaml(self) -> str:
        """The resolved config as YAML, with every default written out."""
        return yaml.safe_dump(
            self.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True
        )
