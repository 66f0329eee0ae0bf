"""Generated images depend on (seed, index) alone, and the part map matches what was drawn."""

from collections import Counter

import numpy as np
import pytest

from atlas_pipeline.images.generated import CLASS_NAMES, PART_NAMES, image, label, part_at, part_map
from atlas_pipeline.images.generated.fields import coverage, fold, lattice
from atlas_pipeline.images.generated.image_classes import CLASSES, OUTLINE, TEXTURES
from atlas_pipeline.images.generated.palettes import coloured, palette
from atlas_pipeline.images.generated.shapes import OBJECTS, PLAIN_SHAPES, SHAPES

SEED = 3


def first_of_each_class() -> dict[int, int]:
    found: dict[int, int] = {}
    for index in range(1000):
        found.setdefault(label(SEED, index), index)
    return found


def test_image_depends_on_seed_and_index_alone():
    forwards = [image(SEED, index) for index in range(8)]
    np.random.default_rng(0).random(5)
    backwards = [image(SEED, index) for index in reversed(range(8))][::-1]
    for (pixels, class_index), (pixels_again, class_again) in zip(forwards, backwards, strict=True):
        assert pixels.dtype == np.uint8
        assert pixels.shape == (64, 64, 3)
        assert np.array_equal(pixels, pixels_again)
        assert class_index == class_again


def test_neighbouring_seeds_and_indices_give_other_images():
    pictures = [image(seed, index)[0].tobytes() for seed in (0, 1, 2) for index in range(20)]
    assert len(set(pictures)) == len(pictures)


def test_label_is_the_images_without_drawing_it():
    assert [label(SEED, index) for index in range(40)] == [image(SEED, index)[1] for index in range(40)]


def test_every_class_occurs_about_equally_often():
    counts = Counter(label(SEED, index) for index in range(3000))
    assert set(counts) == set(range(len(CLASS_NAMES)))
    assert max(counts.values()) < 1.6 * min(counts.values())


def test_enough_classes_and_parts_with_names_of_their_own():
    assert len(set(CLASS_NAMES)) == len(CLASS_NAMES) >= 24
    assert len(set(PART_NAMES)) == len(PART_NAMES) >= 21
    assert PART_NAMES[OUTLINE] == "outline"


def test_no_texture_and_no_plain_shape_tells_the_class():
    textures = Counter(texture for part_class in CLASSES for texture in set(part_class.textures))
    assert set(textures) == set(TEXTURES)
    assert min(textures.values()) >= 2
    shapes = Counter(part_class.shape for part_class in CLASSES)
    assert set(shapes) == set(SHAPES)
    assert min(shapes[name] for name in PLAIN_SHAPES) >= 2


def test_some_classes_share_both_textures_so_that_the_shape_must_tell():
    pairs = Counter(part_class.textures for part_class in CLASSES)
    exchanged = [textures for textures in pairs if len(textures) == 2 and textures[::-1] in pairs]
    assert sum(count > 1 for count in pairs.values()) >= 3
    assert len(exchanged) >= 3


def test_house_and_tram_share_windows():
    windows = {c.name for c in CLASSES if "windows" in c.surfaces}
    assert windows == {"house", "tram"}


def test_part_map_holds_the_parts_of_the_class_and_the_outline():
    for class_index, index in first_of_each_class().items():
        expected = {PART_NAMES.index(texture) for texture in CLASSES[class_index].textures} | {OUTLINE}
        parts = part_map(SEED, index)
        assert parts.shape == (64, 64)
        assert parts.dtype == np.uint8
        assert set(np.unique(parts)) == expected, CLASS_NAMES[class_index]


def test_part_map_lies_where_the_image_says(monkeypatch):
    # All textures are black except one white texture, so white pixels show where that part is.
    monkeypatch.setattr(
        "atlas_pipeline.images.generated.compose.palette", lambda rng: np.zeros((2, 3), np.float32)
    )
    monkeypatch.setattr("atlas_pipeline.images.generated.compose.plain", lambda rng: np.ones(3, np.float32))
    for index in range(30):
        bright = image(SEED, index)[0].mean(2) > 110
        outline = part_map(SEED, index) == OUTLINE
        # Pixels on the rim of the outline are half covered; all others must agree.
        assert (bright & ~outline).sum() <= 0.35 * outline.sum()
        assert (outline & ~bright).sum() <= 0.35 * outline.sum()


def test_every_part_covers_pixels_of_some_image():
    seen = np.zeros(len(PART_NAMES), np.int64)
    for index in range(300):
        seen += np.bincount(part_map(SEED, index).ravel(), minlength=len(PART_NAMES))
    assert seen.min() > 0
    assert seen[OUTLINE] < 0.15 * seen.sum()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16), (4, 8)])
def test_part_at_is_the_commonest_of_the_pixels_below_the_position(height, width):
    parts = part_map(SEED, 5)
    for row, col in [(0, 0), (height // 2, width // 2), (height - 1, 1)]:
        below = parts[
            row * 64 // height : (row + 1) * 64 // height, col * 64 // width : (col + 1) * 64 // width
        ]
        counts = Counter(below.ravel().tolist())
        assert counts[part_at(SEED, 5, row, col, height, width)] == max(counts.values())


def test_textures_are_fields_in_the_unit_interval_that_vary():
    for name, texture in TEXTURES.items():
        field = texture(np.random.default_rng(1))
        assert field.dtype == np.float32, name
        assert field.shape == (64, 64), name
        assert 0 <= field.min() < field.max() <= 1, name
        assert not np.array_equal(field, texture(np.random.default_rng(2))), name


def test_palettes_vary_in_hue_and_never_lack_contrast():
    luminance = np.array([0.299, 0.587, 0.114])
    palettes = [palette(np.random.default_rng((9, draw))) for draw in range(300)]
    # Palettes always run from dark to light; the form decides which end is the line and which the ground.
    contrasts = [float((colours[-1] - colours[0]) @ luminance) for colours in palettes]
    assert min(contrasts) >= 0.29
    assert all(colours.min() >= 0 and colours.max() <= 1 + 1e-6 for colours in palettes)
    strongest = Counter(int(colours[0].argmax()) for colours in palettes)
    assert min(strongest[channel] for channel in range(3)) > 60


def test_one_part_appears_in_many_colours():
    mean_colours = []
    for index in range(400):
        pixels, _ = image(SEED, index)
        covered = part_map(SEED, index) == PART_NAMES.index("windows")
        if covered.sum() > 100:
            mean_colours.append(pixels[covered].mean(0))
    assert len(mean_colours) >= 15
    assert np.std(mean_colours, axis=0).min() > 15


def test_coloured_ends_are_the_palettes_ends():
    colours = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 1]], np.float32)
    ramp = np.array([[0, 0.5, 1]], np.float32)
    assert coloured(ramp, colours).tolist() == [colours.tolist()]
    assert coloured(ramp, colours[[0, 2]])[0, :, 1].tolist() == [0, 0.5, 1]


def test_shapes_of_objects_have_the_surfaces_of_their_class():
    u, v = np.meshgrid(
        np.linspace(-1.5, 1.5, 61, dtype=np.float32), np.linspace(-1.5, 1.5, 61, dtype=np.float32)
    )
    for part_class in CLASSES:
        regions = SHAPES[part_class.shape](u, v)
        assert len(regions) == len(part_class.surfaces) == (2 if part_class.shape in OBJECTS else 1)
        for region in regions:
            assert region.dtype == np.float32
            assert 0.02 < (region > 0).mean() < 0.5


def test_field_helpers():
    line = np.array([[0.0, 4.0, 5.0, 9.0, 10.0]], np.float32)
    assert fold(line, 10).tolist() == [[0, 4, 5, 1, 0]]
    assert coverage(np.array([[-2, 0, 2]], np.float32)).tolist() == [[0, 0.5, 1]]
    within, _, cell = lattice(line, np.zeros_like(line), 10)
    assert within.tolist() == [[0, 4, 5, -1, 0]]
    assert cell.tolist() == [[0, 0, 0, 16, 16]]
