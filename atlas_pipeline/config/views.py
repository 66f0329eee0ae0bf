"""Sections of grids, and of the views and figures of classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from atlas_pipeline.config.section import ClassName, GridSizes, Layers, OneOrMore, Section

Sign = Literal["positive", "negative"]


class GridConfig(Section):
    """The grids over a layout."""

    sizes: GridSizes = (20, 40)
    min_count: int = Field(10, ge=1)

    @model_validator(mode="after")
    def _distinct(self) -> GridConfig:
        if not self.sizes or len(set(self.sizes)) != len(self.sizes):
            raise ValueError("sizes must be a list of different grid sizes, e.g. [20, 40]")
        return self


class ViewGridConfig(GridConfig):
    """The grids over the layout of a selection; coarser by default, because a selection is small."""

    sizes: GridSizes = (8,)
    min_count: int = Field(4, ge=1)


class _ViewConfig(Section):
    """Keys that class atlases and comparisons share: layers, layout and grids of the selection."""

    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    method: Literal["tsne", "umap"] = "tsne"
    perplexity: float = Field(30.0, gt=0, description="for t-SNE")
    num_neighbors: int = Field(20, ge=2, description="for UMAP")
    min_dist: float = Field(0.02, ge=0, le=1, description="for UMAP")
    grid: ViewGridConfig = ViewGridConfig()


class ClassConfig(_ViewConfig):
    """A class atlas: the activations that matter to one class, or an atlas for each class (``all``)."""

    class_: ClassName = Field(alias="class")
    filter: Literal["rank", "magnitude", "both"] = "both"
    sign: Sign = "positive"
    top: int | None = Field(None, ge=1, description="for magnitude and both; null: see stages.atlas.select")


class ComparisonConfig(_ViewConfig):
    """A class comparison: x shows which of two classes an activation is evidence for."""

    left: ClassName
    right: ClassName
    top: int | None = Field(None, ge=1, description="for each of the two; null: see stages.atlas.select")
    patch_test: bool = False

    @model_validator(mode="after")
    def _two(self) -> ComparisonConfig:
        if self.left == self.right:
            raise ValueError(f"left and right are both '{self.left}'; name two classes")
        return self


class HighlightConfig(Section):
    """The attribution to one class, shown as opacity in a whole layer atlas."""

    class_: ClassName = Field(alias="class")
    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    sign: Sign = "positive"


class VocabularyConfig(Section):
    """The cells of each layer that carry most of a class's attribution, one strip per layer."""

    class_: ClassName = Field(alias="class")
    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    num_cells: int = Field(12, ge=1, description="icons per strip")


class PatchTestConfig(Section):
    """The patch test of comparisons: icons pasted onto images."""

    num_images: int = Field(
        1000, ge=1, description="most images of the left class that the network gets right"
    )
    num_patches: int = Field(10, ge=1, description="cells that pull hardest to the right class")
    sizes: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], OneOrMore] = Field(
        (0.2, 0.3, 0.4), min_length=1, description="sides of the patch, as shares of the image's side"
    )
    fixed_size: float = Field(0.3, gt=0, le=1, description="size for the summary's rates at the top left")

    @model_validator(mode="after")
    def _fixed_size_is_listed(self) -> PatchTestConfig:
        if self.fixed_size not in self.sizes:
            raise ValueError(f"fixed_size {self.fixed_size} is not among sizes {list(self.sizes)}")
        return self
