"""A whole run in a bucket gives the same artefacts and files as one in a folder."""

import fsspec
import pytest

from atlas_pipeline import open_run
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefacts_of
from atlas_pipeline.errors import AtlasError
from atlas_pipeline.runs.pipeline_file import steps_of


def tables(config):
    parsed = parse_config(config)
    made = artefacts_of(steps_of(parsed), Store(parsed.run.workspace))
    return {(step.stage.name, step.layer, step.view, step.grid): made[step].read() for step in made}


def test_a_run_in_a_bucket_equals_one_in_a_folder(run_in_bucket, atlas, tmp_path, s3):
    bucket, folder = run_in_bucket["run"]["workspace"], str(tmp_path / "workspace")
    in_folder = {**run_in_bucket, "run": {**run_in_bucket["run"], "workspace": folder}}
    assert atlas("run", in_folder, "--quiet").exit_code == 0
    near, far = tables(in_folder), tables(run_in_bucket)
    assert near.keys() == far.keys()
    assert all(table.equals(far[name]) for name, table in near.items())
    again = atlas("run", run_in_bucket, "--quiet")
    assert "0 tasks run" in again.stdout
    assert atlas("view", run_in_bucket).stdout.strip() == f"{bucket}/runs/small/index.html"
    run = fsspec.filesystem("s3").find(f"{bucket}/runs/small")
    published = {name.partition("/runs/small/")[2] for name in run}
    assert {"index.html", "config.yaml", "4/all/atlas-3.png", "4/all/atlas-3.json"} <= published
    page = fsspec.filesystem("s3").cat_file(f"{bucket}/runs/small/4/all/atlas-3.png")
    with open(f"{folder}/runs/small/4/all/atlas-3.png", "rb") as file:
        assert page == file.read()
    assert "nothing to remove" in atlas("clean", run_in_bucket).stdout


def test_a_run_in_a_bucket_is_read_drawn_and_packed(run_in_bucket, atlas, tmp_path, s3):
    bucket = run_in_bucket["run"]["workspace"]
    run = open_run(f"{bucket}/runs/small")
    assert run.views == {"4": ["all"]}
    assert run.atlas("4").icon(*run.atlas("4").cells.loc[0, ["row", "col"]]).mode == "RGB"
    assert len(run.layout("4")) == 60
    # The parent folder works too, as it does for an unpacked run.
    assert open_run(f"{bucket}/runs").name == "small"
    drawn = atlas("figure", run_in_bucket, "--layer", "4").stdout.splitlines()
    assert drawn[0] == f"{bucket}/runs/small/figures/4-all.pdf"
    assert fsspec.filesystem("s3").cat_file(drawn[0]).startswith(b"%PDF")
    for archive in (f"{bucket}/there.zip", str(tmp_path / "here.zip")):
        assert atlas("export", run_in_bucket, "-o", archive).stdout.strip() == archive
    fsspec.filesystem("s3").get_file(f"{bucket}/there.zip", str(tmp_path / "there.zip"))
    assert (tmp_path / "here.zip").read_bytes() == (tmp_path / "there.zip").read_bytes()
    assert open_run(tmp_path / "there.zip").views == run.views


def test_what_is_no_run_in_a_bucket_is_one_line(bucket):
    for where in (f"{bucket}/runs/other", "s3://nowhere/runs/other"):
        with pytest.raises(AtlasError, match=r"does not exist|no bucket") as error:
            open_run(where)
        assert "\n" not in str(error.value)


def test_a_workspace_that_cannot_be_reached_is_one_line(small, atlas, s3):
    small["run"]["workspace"] = "s3://nowhere/work"
    result = atlas("run", small, "--quiet")
    assert result.exit_code == 2
    assert result.stderr.strip() == (
        "error: s3://nowhere/work: there is no bucket 'nowhere'; create it, or choose another workspace"
    )
    # `atlas view` reports the missing bucket as well, not a missing atlas.
    result = atlas("view", small)
    assert result.exit_code == 2
    assert "there is no bucket 'nowhere'" in result.stderr
