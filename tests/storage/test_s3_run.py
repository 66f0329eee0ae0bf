"""A whole run in a bucket gives what one in a folder gives."""

import fsspec

from atlas_pipeline.config_file import parse_config
from atlas_pipeline.engine import Store, artefacts_of
from atlas_pipeline.pipeline_file import steps_of


def tables(config):
    parsed = parse_config(config)
    made = artefacts_of(steps_of(parsed), Store(parsed.run.workspace))
    return {(step.stage.name, step.layer, step.view, step.grid): made[step].read() for step in made}


def test_a_run_in_a_bucket_equals_one_in_a_folder(small, atlas, bucket):
    near = tables(small) if atlas("run", small, "--quiet").exit_code == 0 else None
    folder = small["run"]["workspace"]
    small["run"]["workspace"] = bucket
    assert atlas("run", small, "--quiet").exit_code == 0
    far = tables(small)
    assert near.keys() == far.keys()
    assert all(table.equals(far[name]) for name, table in near.items())
    again = atlas("run", small, "--quiet")
    assert "0 tasks run" in again.stdout
    assert atlas("view", small).stdout.strip() == f"{bucket}/runs/small/index.html"
    run = fsspec.filesystem("s3").find(f"{bucket}/runs/small")
    published = {name.partition("/runs/small/")[2] for name in run}
    assert {"index.html", "config.yaml", "4/all/atlas-3.png", "4/all/atlas-3.json"} <= published
    page = fsspec.filesystem("s3").cat_file(f"{bucket}/runs/small/4/all/atlas-3.png")
    with open(f"{folder}/runs/small/4/all/atlas-3.png", "rb") as file:
        assert page == file.read()
    assert "nothing to remove" in atlas("clean", small).stdout


def test_a_workspace_that_cannot_be_reached_is_one_line(small, atlas, s3):
    small["run"]["workspace"] = "s3://nowhere/work"
    result = atlas("run", small, "--quiet")
    assert result.exit_code == 2
    assert result.stderr.strip() == (
        "error: s3://nowhere/work: there is no bucket 'nowhere'; create it, or choose another workspace"
    )
