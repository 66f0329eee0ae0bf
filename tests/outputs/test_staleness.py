"""Changes of the config that make a finished run stale."""

import pytest
import yaml

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.publish.staleness import refuse_stale_archive, refuse_stale_figure
from atlas_pipeline.reader import open_run

CLASS, COMPARISON = "class-cost-5-or-6", "compare-ant-dog"
LABELS = ["ant", "dog", "cost $5 or $6", "bee"]
MADE = {
    "name": "made",
    "images": {"source": "folder", "path": "/a/b/photos"},
    "layers": ["conv1", "conv2"],
    "grid": {"sizes": [6, 12]},
    "classes": [{"class": "cost $5 or $6", "top": 3000}, {"class": "ant"}],
    "comparisons": [{"left": "ant", "right": "dog", "top": 2000}],
}


def changed(values, key, value):
    """The config with one key changed; a number in the key is an index of a list."""
    first, _, rest = key.partition(".")
    if isinstance(values, list):
        place = int(first)
        return [changed(v, rest, value) if n == place else v for n, v in enumerate(values)]
    return {**values, first: changed(values.get(first, {}), rest, value) if rest else value}


@pytest.fixture
def refusal(made_run, tmp_path):
    """`refusal(asked, request, made)`: the error on drawing for one config a run that another made, or None.

    Without a request, the run is packed instead.
    """
    folder = made_run()
    (tmp_path / "network.py").write_text(f"def build(): raise RuntimeError\nLABELS = {LABELS}")
    model = {"source": "python", "name": f"{tmp_path}/network.py:build"}

    def say(asked, request=None, made=MADE):
        asked, made = {**asked, "model": model}, {**made, "model": model}
        (folder / "config.yaml").write_text(
            yaml.safe_dump(parse_config(made).model_dump(mode="json", by_alias=True))
        )
        try:
            if request is None:
                refuse_stale_archive(parse_config(asked), open_run(folder))
            else:
                refuse_stale_figure(parse_config(asked), open_run(folder), request)
        except ConfigError as error:
            return str(error)
        return None

    return say


WHOLE = FigureRequest(layer="conv2")
OF_CLASS = FigureRequest(layer="conv2", view=CLASS)
OF_TWO = FigureRequest(layer="conv2", view=COMPARISON)
LAYERS, CLASSES = SheetRequest(kind="layers"), SheetRequest(kind="classes")


@pytest.mark.parametrize(
    ("key", "value", "refused", "drawn"),
    [
        ("classes.0.top", 100, (OF_CLASS, CLASSES), (WHOLE, OF_TWO, LAYERS)),
        ("classes.0.grid", {"sizes": [6], "min_count": 9}, (OF_CLASS, CLASSES), (WHOLE, OF_TWO)),
        ("classes.1.top", 100, (CLASSES,), (WHOLE, OF_CLASS, OF_TWO)),
        ("classes", [], (OF_CLASS, CLASSES), (WHOLE, OF_TWO, LAYERS)),
        ("comparisons.0.top", 100, (OF_TWO,), (WHOLE, OF_CLASS, CLASSES)),
        ("comparisons", [], (OF_TWO,), (WHOLE, OF_CLASS)),
        ("comparisons.0.patch_test", True, (), (WHOLE, OF_CLASS, OF_TWO)),
        ("seed", 1, (WHOLE, OF_CLASS, OF_TWO, LAYERS, CLASSES), ()),
        ("project.num_neighbors", 7, (WHOLE, LAYERS), (OF_CLASS, OF_TWO, CLASSES)),
        ("project.metric", "euclidean", (WHOLE, OF_CLASS, OF_TWO), ()),
        ("grid.min_count", 3, (WHOLE, LAYERS), (OF_CLASS, CLASSES)),
        # Icons start from those of a coarser grid earlier in the list.
        ("grid.sizes", [12, 6], (WHOLE, LAYERS), (OF_CLASS, FigureRequest(layer="conv2", grid=6))),
        ("grid.sizes", [6, 12, 24], (), (WHOLE, LAYERS)),
        ("layers", ["conv2"], (), (WHOLE, OF_CLASS)),
        ("stitch.scale", "full", (WHOLE, OF_CLASS), ()),
        ("stitch.deep_zoom", True, (), (WHOLE, OF_CLASS)),
        ("stitch.examples", 0, (), (WHOLE, OF_CLASS)),
        ("images.max_bad", 0.5, (), (WHOLE, OF_CLASS)),
        ("images.path", "/elsewhere", (), (WHOLE, OF_CLASS)),
        ("run.workers", 3, (), (WHOLE, OF_CLASS)),
    ],
)
def test_a_figure_is_refused_where_its_own_atlas_would_be_another(refusal, key, value, refused, drawn):
    asked = changed(MADE, key, value)
    for request in refused:
        assert "run 'made' was made with " in (refusal(asked, request) or ""), request
    for request in drawn:
        assert refusal(asked, request) is None, request


def test_the_refusal_names_the_entry_and_the_key(refusal):
    said = refusal(changed(MADE, "classes.0.top", 100), OF_CLASS)
    assert said.startswith("run 'made' was made with classes.cost-5-or-6.top: 3000, not 100; give ")
    assert "runs/made/config.yaml as CONFIG, or bring the run up to date with: atlas run" in said
    # A key that --set can reach is to be repeated.
    said = refusal(changed(MADE, "grid.sizes", [12, 6]), WHOLE)
    assert "made with grid.sizes: [6, 12], not [12, 6]; repeat --set 'grid.sizes=[6, 12]', or give " in said


def test_an_entry_that_does_not_name_its_class_is_held_against_what_may_be_it(refusal):
    for name in ("2", "all"):
        made = {**MADE, "classes": [{"class": name, "top": 3000}]}
        assert refusal(made, OF_CLASS, made) is None
        assert "made with classes: [" in refusal(changed(MADE, "classes.0.top", 5), OF_CLASS, made)
        # Another spelling of the config gives the same atlas.
        assert refusal(MADE, OF_CLASS, made) is None
        assert ".top: 3000, not 5" in refusal(changed(made, "classes.0.top", 5), OF_CLASS, made)


def test_layers_laid_out_together_are_no_others(refusal):
    made = {**MADE, "classes": [], "comparisons": [], "project": {"align": True}}
    asked = {**made, "layers": ["conv2", "conv1"]}
    assert 'layers: ["conv1", "conv2"], not ["conv2", "conv1"]' in refusal(asked, WHOLE, made)
    assert refusal(made, WHOLE, made) is None


@pytest.mark.parametrize(
    ("key", "value", "is_refused"),
    [
        ("classes.0.top", 100, True),
        ("classes", [], True),
        ("layers", ["conv1", "conv2", "conv3"], True),
        ("stitch.deep_zoom", True, True),
        ("grid.sizes", [6], True),
        ("highlights", [{"class": "ant"}], True),
        ("images.max_bad", 0.5, False),
        ("images.path", "/elsewhere", False),
        ("run.workers", 3, False),
    ],
)
def test_an_archive_is_refused_where_anything_in_it_would_be_other(refusal, key, value, is_refused):
    assert (refusal(changed(MADE, key, value)) is not None) == is_refused
