"""Sections of the studies beside the atlas: units, tuning, single pictures, dreams, directions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from atlas_pipeline.config.section import ClassName, Layers, OneOrMore, Section

UnitIcon = Literal["neuron", "negative", "channel", "channel_negative", "diverse"]


class UnitsConfig(Section):
    """Pages of single units: real patches over the whole range of a unit, icons, classes, weights."""

    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    only: Annotated[tuple[Annotated[str, Field(pattern=r"^.+:\d+$")], ...], OneOrMore] = Field(
        (), description="units to make pages of, as layer:number; empty: all units of the layers"
    )
    first_images: int = Field(2048, ge=1, description="images from which mean and deviation are taken")
    ranges: Annotated[tuple[float, ...], OneOrMore] = Field(
        (-1.0, 0.0, 1.0, 2.0, 4.0, 8.0), min_length=1, description="borders, in standard deviations"
    )
    per_range: int = Field(6, ge=1, le=24)
    num_top: int = Field(9, ge=1, le=24)
    icons: Annotated[tuple[UnitIcon, ...], OneOrMore] = (
        "neuron",
        "negative",
        "channel",
        "channel_negative",
        "diverse",
    )
    num_diverse: int = Field(3, ge=1, le=8)
    diversity: float = Field(1.0, ge=0, description="weight of the likeness to the icons made before")
    num_weights: int = Field(6, ge=0, le=24, description="strongest weights shown to either side")
    shard_size: int = Field(4096, ge=1)

    @model_validator(mode="after")
    def _rising(self) -> UnitsConfig:
        if list(self.ranges) != sorted(set(self.ranges)):
            raise ValueError(f"ranges {list(self.ranges)} must rise, e.g. [-1, 0, 1, 2, 4, 8]")
        return self


class TuningConfig(Section):
    """Tuning of units to orientation: synthetic stimuli, families of rotated units, real patches rotated."""

    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    only: Annotated[tuple[Annotated[str, Field(pattern=r"^.+:\d+$")], ...], OneOrMore] = Field(
        (), description="units whose families are shown, as layer:number; empty: the largest families"
    )
    num_orientations: int = Field(24, ge=8, le=180, multiple_of=4, description="over the whole turn")
    curvatures: Annotated[tuple[Annotated[float, Field(ge=0, le=4)], ...], OneOrMore] = Field(
        (0.0, 0.25, 0.5, 1.0, 2.0), min_length=1, description="in 1 / field radii; 0 is a line"
    )
    corner_radii: Annotated[tuple[Annotated[float, Field(ge=0, le=8)], ...], OneOrMore] = Field(
        (0.0, 0.25, 0.5, 1.0), description="rounding of right angles, in field radii"
    )
    stroke_width: float = Field(0.3, gt=0, le=1, description="in field radii")
    min_agreement: float = Field(0.7, gt=0, lt=1, description="mean agreement within a family")
    min_members: int = Field(3, ge=2)
    num_families: int = Field(6, ge=1, description="families shown, from the largest")
    num_patches: int = Field(24, ge=1, description="real patches of a family that are rotated")
    icons: bool = Field(True, description="icons of the members shown, and of their inputs")

    @model_validator(mode="after")
    def _each_once(self) -> TuningConfig:
        for name in ("curvatures", "corner_radii"):
            values = list(getattr(self, name))
            if values != sorted(set(values)):
                raise ValueError(f"{name} {values} must rise, e.g. {sorted(set(values))}")
        if any(0 < bend < 0.01 for bend in self.curvatures):
            raise ValueError(f"curvatures {list(self.curvatures)} from 0.01 on; 0 is a line")
        return self


class ImageConfig(Section):
    """The pages of single pictures: places on the atlas, attributions, groups of neurons."""

    pictures: Annotated[tuple[str, ...], OneOrMore] = Field(
        (), description="paths and globs; `atlas image CONFIG PICTURE...` gives them instead"
    )
    classes: Annotated[tuple[ClassName, ...], OneOrMore] = Field(
        (), description="classes to attribute to, beside those of the highest logits"
    )
    num_classes: int = Field(3, ge=1, le=20, description="classes of the highest logits")
    path_steps: int = Field(16, ge=1, description="points on the path from zero to the activations")
    num_groups: int = Field(6, ge=1, le=64)
    num_units: int = Field(6, ge=1, le=24, description="units named at each position")
    position_icons: int = Field(4, ge=0, description="strongest positions that get an icon of their own")


class DreamConfig(Section):
    """Pictures in which a layer finds more of what it detects: DeepDream, and caricatures of pictures."""

    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    noise: int = Field(1, ge=0, le=64, description="dreams of a layer that begin with noise")
    pictures: Annotated[tuple[str, ...], OneOrMore] = Field(
        (), description="paths and globs; `atlas dream CONFIG PICTURE...` gives them instead"
    )
    kinds: Annotated[tuple[Literal["dream", "caricature"], ...], OneOrMore] = Field(
        ("dream", "caricature"), min_length=1, description="made of each picture"
    )
    size_px: int = Field(448, ge=32, le=4096, description="longer side of a finished picture")
    octaves: int = Field(4, ge=1, le=12)
    octave_scale: float = Field(1.4, ge=1.1, le=4)
    steps: int = Field(16, ge=1, description="at each octave")
    strength: float = Field(1.0, gt=0, le=10, description="factor of the learning rate")
    cosine_power: float = Field(1.0, ge=0, description="of caricatures")
    tile_px: int | None = Field(None, ge=32, description="null: as large as the network takes, see the docs")

    @model_validator(mode="after")
    def _something(self) -> DreamConfig:
        if not self.noise and not self.pictures:
            raise ValueError("there is nothing to dream of; set noise: 1, or name pictures")
        return self


class DirectionsConfig(Section):
    """Atoms: directions whose sums make up a layer's activations."""

    layers: Layers | None = Field(None, min_length=1, description="null: all of the run's")
    method: Literal["nmf", "dictionary", "file"] = "nmf"
    num_atoms: int = Field(32, ge=1, le=4096, description="of nmf and dictionary")
    file: str | None = Field(None, description="a sparse autoencoder's decoder, (atom, channel)")
    sparsity: float = Field(0.2, gt=0, description="of dictionary")
    num_active: int = Field(8, ge=1, le=256, description="most atoms of an activation, dictionary and file")
    fit_on: int = Field(16384, ge=1, description="most activations that atoms are fitted to")
    num_shown: int = Field(64, ge=1, le=1024, description="atoms with pages, those of the largest shares")

    @model_validator(mode="after")
    def _file_is_for_file(self) -> DirectionsConfig:
        if self.method == "file" and self.file is None:
            raise ValueError("method: file needs file, the .npy, .npz or .safetensors file of a decoder")
        if self.method != "file" and self.file is not None:
            raise ValueError(f"method: {self.method} reads no file; set method: file, or leave file out")
        return self

    @property
    def most_active(self) -> int | None:
        """Most atoms of an activation; None: any number of them."""
        return None if self.method == "nmf" else self.num_active
