"""Config: defaults, overrides, and one-line errors that name the nearest known key."""

import re
from pathlib import Path

import pytest
import yaml

from atlas_pipeline.config.loading import load_config, parse_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.errors import ConfigError

REPOSITORY = Path(__file__).parent.parent
INF = float("inf")
LEAST = {"name": "run", "model": {"source": "demo"}, "images": {"source": "generated"}, "layers": ["mixed4"]}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_configs_that_come_with_us_load(path):
    config = load_config(path)
    assert config.name == path.stem
    assert "atlas run configs/" + path.name in path.read_text()


def test_only_name_model_images_and_layers_have_no_default():
    parse_config(LEAST)
    for key in LEAST:
        with pytest.raises(ConfigError, match=f"key '{key}' is missing"):
            parse_config({k: v for k, v in LEAST.items() if k != key})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle": {}}, "key 'modle' is not in the config; nearest: 'model'"),
        ({"grid": {"size": [20]}}, "key 'size' is not in grid; nearest: 'sizes'"),
        (
            {"model": {"source": "demo", "preprocess": {"meen": 1}}},
            "key 'meen' is not in model.preprocess; nearest: 'mean'",
        ),
        ({"invert": {"steps": "many"}}, "invert.steps is 'many'; it must be a whole number$"),
        ({"invert": {"steps": 0}}, "invert.steps is 0; it must be at least 1$"),
        ({"invert": {"objective": "cosin"}}, "it must be one of .*, cosine, dot; nearest: 'cosine'$"),
        ({"invert": {"style": "faithfull"}}, "it must be 'vivid' or 'faithful'; nearest: 'faithful'$"),
        ({"grid": {"min_count": 0}}, "my.yaml: grid.min_count is 0; it must be at least 1$"),
        ({"project": {"engine": "parralel"}}, "it must be 'auto', .* or 'gpu'; nearest: 'parallel'$"),
        ({"stitch": {"deep_zoom": 3}}, "stitch.deep_zoom is 3; it must be true or false$"),
        ({"images": "photos"}, "images is 'photos'; it must be a section of keys$"),
        ({"run": {"device": "tpu"}}, "run.device is 'tpu'; it must be auto or cpu or cuda\\[:n\\]$"),
        ({"grid": {"sizes": [20, 20]}}, "sizes must be a list of different grid sizes"),
        ({"layers": ["mixed4", "mixed4"]}, "a layer is named twice"),
        ({"layers": []}, r"layers is \[\]; it must be a list of 1 or more$"),
        ({"name": "a/b"}, "plain folder name"),
        ({"model": {"source": "python"}}, "source 'python' needs a name"),
        ({"images": {"source": "folder"}}, "source 'folder' needs a path"),
        ({"images": {"source": "generated", "path": "x"}}, "takes no path"),
        # The error for a union type names every accepted type.
        (
            {"run": {"batch_size": 0}},
            "run.batch_size is 0; it must be 'auto', or at least 1$",
        ),
        ({"run": {"workers": -1}}, "run.workers is -1; it must be 'auto', or at least 0$"),
        (
            {"sample": {"attribution": "zebra"}},
            "sample.attribution is 'zebra'; it must be 'all' or 'none', or a list$",
        ),
        ({"sample": {"attribution": ["zebra", 1.5]}}, "sample.attribution.1 is 1.5; it must be text$"),
        # Non-finite numbers have no fingerprint.
        (
            {"project": {"method": "tsne", "perplexity": INF}},
            "project.perplexity is inf; it must be a finite number$",
        ),
        (
            {"classes": [{"class": "ring", "perplexity": INF}]},
            "classes.0.perplexity is inf; it must be a finite number$",
        ),
        ({"invert": {"zoom_max": INF}}, "invert.zoom_max is inf; it must be a finite number$"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(change, message):
    with pytest.raises(ConfigError) as error:
        parse_config({**LEAST, **change}, where="my.yaml")
    assert re.search(message, str(error.value))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("my.yaml")


def test_overrides_reach_nested_keys_and_read_yaml_values(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(LEAST))
    config = load_config(path, ["grid.sizes=[5, 9]", "invert.learning_rate=1e-3", "images.num_images=null"])
    assert config.grid.sizes == (5, 9)
    assert config.invert.learning_rate == pytest.approx(1e-3)
    assert config.images.num_images is None


def test_a_single_number_or_name_is_a_list_of_one(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**LEAST, "patch_test": {"sizes": 0.3}}))
    config = load_config(path, ["grid.sizes=24", "layers=mixed4", "classes=[{class: a, layers: mixed4}]"])
    assert config.grid.sizes == (24,)
    assert config.layers == ("mixed4",)
    assert config.classes[0].layers == ("mixed4",)
    assert config.patch_test.sizes == (0.3,)
    for text in ("grid.sizes=0", "grid.sizes=true", "grid.sizes=fine", "layers=true"):
        with pytest.raises(ConfigError, match=rf"{text.partition('=')[0]}.* it must be"):
            load_config(path, [text])


@pytest.mark.parametrize("text", ["invert.steps", "=3", "grid.sizes=[1"])
def test_an_override_that_cannot_be_read_is_refused(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(LEAST))
    with pytest.raises(ConfigError, match="--set"):
        load_config(path, [text])


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1\n"])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        load_config(path)


def test_a_config_of_ours_can_be_named_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("quickstart").name == "quickstart"
    assert load_config("configs/quickstart.yaml").name == "quickstart"


def test_a_file_that_may_not_be_looked_for_is_refused(may_not_look, tmp_path):
    may_not_look(tmp_path)
    with pytest.raises(ConfigError, match=r"nothing\.yaml' cannot be read: .*denied"):
        load_config(tmp_path / "nothing.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "nothing.yaml")


def test_the_resolved_config_reads_back_as_itself():
    config = parse_config({**LEAST, "sample": {"attribution": ["cat", "dog"]}})
    assert Config.model_validate(yaml.safe_load(config.to_yaml())) == config


def test_a_default_written_out_is_the_same_to_the_type():
    config = parse_config({**LEAST, **ENTRIES})
    again = Config.model_validate(yaml.safe_load(config.to_yaml()))
    assert repr(again.model_dump(mode="json")) == repr(config.model_dump(mode="json"))


def test_generated_images_have_a_number_of_their_own():
    assert parse_config(LEAST).images.wanted == 20_000
    assert parse_config({**LEAST, "images": {"source": "generated", "num_images": 7}}).images.wanted == 7
    folder = {"source": "folder", "path": "photos"}
    assert parse_config({**LEAST, "images": folder}).images.wanted is None


ENTRIES = {
    "units": {},
    "directions": {},
    "tuning": {},
    "dream": {},
    "classes": [{"class": "all"}],
    "comparisons": [{"left": "ring", "right": "brick"}],
    "highlights": [{"class": "ring"}],
    "vocabularies": [{"class": "ring"}],
}
# Documented once, under `classes`; comparisons refer to it by "as in `classes`".
AS_IN_CLASSES = (
    "layers",
    "method",
    "perplexity",
    "num_neighbors",
    "min_dist",
    "grid.sizes",
    "grid.min_count",
)


def _keys(section: object, prefix: str = "") -> set[str]:
    names = set()
    for name, value in section.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = value[0]
        names |= _keys(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}"}
    return names


def test_every_key_is_documented():
    documented = {f"comparisons.{key}" for key in AS_IN_CLASSES}
    documented |= {
        f"{section}.{key}" for section in ("highlights", "vocabularies") for key in ("class", "layers")
    }
    documented |= {"highlights.sign"}
    for line in (REPOSITORY / "docs" / "config.md").read_text().splitlines():
        if line.startswith("| `"):
            first, *more = re.findall(r"`([a-z_.]+)`", line.split("|")[1])
            section = first.rpartition(".")[0]
            documented |= {first} | {f"{section}.{name}" for name in more}
    assert documented == _keys(parse_config({**LEAST, **ENTRIES}).model_dump(mode="json", by_alias=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": [{"class": "ring", "layrs": []}]}, "key 'layrs' is not in classes.0; nearest: 'layers'"),
        ({"classes": [{"filter": "rank"}]}, "key 'classes.0.class' is missing"),
        (
            {"highlights": [{"class": "ring", "layers": ["mixed5"]}]},
            "layer 'mixed5' is not among the run's layers; nearest: 'mixed4'",
        ),
        ({"comparisons": [{"left": "ring", "right": "ring"}]}, "left and right are both 'ring'"),
        (
            {"classes": "all", "sample": {"attribution": "none"}},
            "sample.attribution is none; set it to all.*sample stage then runs again",
        ),
        ({"patch_test": {"fixed_size": 0.25}}, "fixed_size 0.25 is not among sizes"),
    ],
)
def test_mistakes_in_the_views_are_told(change, message):
    with pytest.raises(ConfigError) as error:
        parse_config({**LEAST, **change})
    assert re.search(message, str(error.value))


def test_all_stands_for_a_class_atlas_of_every_class_and_an_index_may_be_a_number():
    config = parse_config({**LEAST, "classes": "all", "comparisons": [{"left": 3, "right": "ring"}]})
    assert [entry.class_ for entry in config.classes] == ["all"]
    assert config.comparisons[0].left == "3"
    assert Config.model_validate(yaml.safe_load(config.to_yaml())) == config


def test_a_style_fills_in_what_is_not_set():
    def invert_of(**keys):
        return parse_config({**LEAST, "invert": keys}).invert

    vivid, faithful = invert_of(), invert_of(style="faithful")
    assert (vivid.style, vivid.steps, vivid.objective, vivid.whitening) == ("vivid", 96, "cosine_power", 0.25)
    assert (faithful.steps, faithful.objective, faithful.whitening) == (320, "cosine", 0)
    own = invert_of(style="faithful", steps=40, whitening=0.1)
    assert (own.steps, own.objective, own.whitening) == (40, "cosine", 0.1)
