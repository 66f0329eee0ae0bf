"""The commands `figure` and `export` and the reader, on one small run."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from atlas_pipeline import open_run, run
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.document.schema_check import atlas_schema, document_problems
from atlas_pipeline.publish.export import PROVENANCE_FILE

LATE = "4"
OTHER_TOP = "[{class: bee, top: 7, grid: {sizes: [2], min_count: 1}}]"


@pytest.fixture(scope="module")
def made_once(small_in, tmp_path_factory):
    """Config of a finished run."""
    config = {
        **small_in(tmp_path_factory.mktemp("made")),
        "grid": {"sizes": [2, 3], "min_count": 2},
        "classes": [{"class": "bee", "grid": {"sizes": [2], "min_count": 1}}],
    }
    run(parse_config(config), quiet=True)
    return config


@pytest.fixture
def done(made_once, tmp_path):
    """Config of a copy of that run in the test's own workspace."""
    shutil.copytree(made_once["run"]["workspace"], tmp_path / "workspace")
    return {**made_once, "run": {**made_once["run"], "workspace": str(tmp_path / "workspace")}}


def test_a_run_is_drawn_packed_and_read(done, atlas, tmp_path):
    figure = tmp_path / "fig.pdf"
    drawn = atlas("figure", done, "--layer", LATE, "--grid", "3", "--labels", "2", "-o", str(figure))
    assert drawn.stdout.splitlines() == [
        str(figure),
        str(tmp_path / "fig.bib"),
        str(tmp_path / "fig-methods.md"),
    ]
    assert figure.read_bytes().startswith(b"%PDF")
    packed = atlas("export", done, "-o", str(tmp_path / "out.zip"))
    assert packed.stdout.splitlines() == [str(tmp_path / "out.zip")]

    made, archived = open_run(tmp_path / "workspace" / "runs" / "small"), open_run(tmp_path / "out.zip")
    assert made.views == archived.views
    layout = made.layout(LATE)
    assert layout.columns.tolist() == ["image_id", "row", "col", "x", "y", "label", "label_name"]
    assert len(layout) == made.atlas(LATE).num_activations == 60
    assert layout[["x", "y"]].stack().between(0, 1).all()
    for layer, views in made.views.items():
        for view in views:
            for grid in made.grids(layer, view):
                assert document_problems(archived.atlas(layer, view, grid).document) == []


def test_an_archive_holds_the_whole_folder_and_opens_where_it_is_unpacked(done, atlas, tmp_path):
    atlas("figure", done, "--layer", LATE, "--labels", "0")
    assert atlas("export", done, "-o", str(tmp_path / "out.zip")).exit_code == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    # The archive holds every file of the run, whatever its suffix.
    folder, unpacked = tmp_path / "workspace" / "runs" / "small", tmp_path / "elsewhere" / "small"
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    own = {path for path in files if path.parts[0] == "figures" or path.name.startswith(".")}
    there = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    assert there == (files - own) | {Path(PROVENANCE_FILE)}
    assert all((unpacked / path).read_bytes() == (folder / path).read_bytes() for path in files - own)
    assert open_run(unpacked).views == open_run(folder).views


def test_a_figure_of_ones_own_outlives_the_next_run(done, atlas, tmp_path):
    made = atlas("figure", done, "--layer", LATE, "--labels", "0").stdout.splitlines()
    assert made[0].endswith(f"runs/small/figures/{LATE}-all.pdf")
    assert atlas("run", done).exit_code == 0
    assert all(Path(path).is_file() for path in made)


def test_bad_input_is_one_line(done, atlas, tmp_path, refused):
    (tmp_path / "file").write_text("")
    for arguments, words in (
        (("--layer", "44"), ("layer '44'", "nearest: '4'")),
        (("--layer", LATE, "--view", "class-bees"), ("view 'class-bees'", "nearest: 'class-bee'")),
        (("--layer", LATE, "--region", "2,2,3,3"), ("outside the map",)),
        (("--layer", LATE, "-o", "fig.jpg"), ("'.jpg' is none of .pdf, .svg, .png",)),
        (("--layer", LATE, "-o", str(tmp_path / "file" / "fig.pdf")), ("cannot write", "Not a directory")),
        (("--layer", LATE, "-o", "/proc/fig.pdf"), ("cannot write /proc/fig.pdf", "choose another place")),
        ((), ("--layer is missing",)),
        (("--sheet", "layers", "--labels", "3"), ("leave out --labels",)),
        (("--sheet", "layers", "--view", "all"), ("leave --layer and --view out",)),
        (("--sheet", "classes", "--view", "class-bee,class-ben"), ("'class-ben'", "nearest: 'class-bee'")),
    ):
        refused(atlas("figure", done, *arguments), *words)
    (tmp_path / "folder.zip").mkdir()
    refused(atlas("export", done, "-o", str(tmp_path / "folder.zip")), "it is a folder")
    refused(atlas("export", done, "-o", "out.tar"), "'.tar' is not .zip")


def test_before_the_run_the_command_that_makes_it_is_named(small, atlas, tmp_path, refused):
    for command in (("figure", "--layer", LATE), ("export",)):
        refused(atlas(command[0], small, *command[1:]), "no atlas yet", "atlas run")
    assert not (tmp_path / "workspace").exists()


def test_what_was_made_with_another_config_is_not_shown(done, atlas, tmp_path, refused):
    for command in (("figure", "--layer", LATE, "--labels", "0"), ("export",)):
        path = str(tmp_path / ("fig.pdf" if command[0] == "figure" else "out.zip"))
        changed = atlas(command[0], done, *command[1:], "-o", path, "--set", "project.num_neighbors=4")
        refused(changed, "made with project.num_neighbors: 5, not 4", "atlas run")
        assert not Path(path).exists()
        # Settings of execution do not change the results.
        assert atlas(command[0], done, *command[1:], "-o", path, "--set", "run.workers=1").exit_code == 0
    # A figure depends only on its own atlas; an archive contains every atlas.
    archive, path = path, str(tmp_path / "beside.pdf")
    assert atlas("figure", done, "--layer", LATE, "-o", path, "--set", "classes=[]").exit_code == 0
    of_class = ("--layer", LATE, "--view", "class-bee", "-o", path)
    for classes, was in (("[]", "classes"), (OTHER_TOP, "classes.bee.top: null, not 7")):
        refused(atlas("figure", done, *of_class, "--set", f"classes={classes}"), was, "atlas run")
        refused(atlas("export", done, "-o", archive, "--set", f"classes={classes}"), "classes", "atlas run")


def test_reading_and_drawing_load_no_torch(made_run, tmp_path):
    folder = made_run()
    code = (
        "import sys, json; from pathlib import Path; from atlas_pipeline import open_run\n"
        "from atlas_pipeline.figure import FigureRequest, save_figure\n"
        f"run = open_run({str(folder)!r}); run.atlas('conv1').cells\n"
        f"save_figure(run, FigureRequest(layer='conv1'), Path({str(tmp_path / 'fig.pdf')!r}))\n"
        "print(json.dumps([n for n in ('torch', 'umap', 'numba', 'dask') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_example_of_the_docs_runs(done, monkeypatch, tmp_path):
    """Run every Python block in order, changing only the names of run, config and layer."""
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "reading.md").read_text() + (docs / "figures.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert len(blocks) == 8
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(done))
    known: dict = {}
    for block in blocks:
        code = block.replace("data/runs/quickstart", "workspace/runs/small").replace("mixed5", LATE)
        code = code.replace('"quickstart"', '"small.yaml"')
        exec(compile(code, "docs", "exec"), known)
    assert known["icon"].size <= (16, 16)
    assert (tmp_path / "worst.png").is_file()
    assert len(known["layout"]) == 60
    assert known["result"].published.page.is_file()
    assert known["result"].tasks_run > 0
    assert (tmp_path / "fig.svg").is_file()


def test_the_docs_name_the_schema_of_the_json():
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "artefacts.md").read_text()
    assert f"`{atlas_schema()['properties']['schema']['const']}`" in text
    link = text.split("Schema is\n[")[1].split("](")[1].split(")")[0]
    assert json.loads((docs / link).read_text())["$id"] == atlas_schema()["$id"]
    cell = set(atlas_schema()["$defs"]["cell"]["properties"])
    assert {name for name in cell if f"`{name}`" not in text} == set()
