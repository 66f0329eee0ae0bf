import pytest

from atlas_pipeline.inversion import InversionSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size_px", 0),
        ("steps", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("adam_memory", 1.0),
        ("canvas_scale", 0.9),
        ("canvas_scale", float("inf")),
        ("zoom_max", 0.5),
        ("zoom_max", float("inf")),
        ("settle", 1.5),
        ("whitening", 1.5),
        ("vignette", -0.1),
        ("schedule", "linear"),
        ("arithmetic", "float16"),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"inversion setting {name} is "):
        InversionSettings(**{name: value})


@pytest.mark.parametrize(
    ("size_px", "scale", "canvas_px"), [(32, 1.5, 48), (80, 1.5, 120), (15, 1.5, 23), (32, 1.0, 32)]
)
def test_canvas_side(size_px, scale, canvas_px):
    assert InversionSettings(size_px=size_px, canvas_scale=scale).canvas_px == canvas_px
