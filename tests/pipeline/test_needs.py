"""A run's needs for disk and memory are estimated, reported, and refused if unmet, before its work starts."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.document import atlas_picture
from atlas_pipeline.engine import MemoryNeed, Needs, Store, left
from atlas_pipeline.errors import ResourceError
from atlas_pipeline.layout.layout_memory import aligned_layout_bytes, layout_bytes
from atlas_pipeline.runs import devices, memory_preflight, preflight
from atlas_pipeline.runs.memory_preflight import refuse_unmet_memory
from atlas_pipeline.runs.pipeline_file import steps_of
from atlas_pipeline.tables import extent

LATE, CHANNELS, CLASSES, IMAGES, NEIGHBORS, CELLS = "4", 12, 5, 60, 5, 9
# The sample has float16 vectors and 20 bytes of position per row. The other stages write neighbours, a
# layout, and the sums and means of 9 cells.
SAMPLE_BYTES = IMAGES * (2 * (CHANNELS + CLASSES) + 20)
OTHER_BYTES = IMAGES * (NEIGHBORS * 8 + 20) + 2 * CELLS * (CHANNELS + CLASSES) * 4


@pytest.fixture
def have(monkeypatch):
    """`have(disk, memory)`: act as a machine with this much free disk and memory, in bytes."""

    def set_free(disk=10**12, memory=10**12):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=disk))
        monkeypatch.setattr(memory_preflight, "available_memory_bytes", lambda: memory)

    return set_free


def needed(values, only=None):
    config = parse_config(values)
    store, steps = Store(config.run.workspace), steps_of(config)
    found = preflight.needs_by_siblings(config, left(steps, store, only=only), store, "cpu")
    return preflight.total_needs(found)


def disk_of(step):
    """Disk need in bytes of a step whose needs follow from its config alone."""
    return step.stage.needs([step], [None]).disk_bytes


def layouts(values):
    """Layout -> memory need in bytes."""
    return {need.task.removeprefix("the layout of "): need.num_bytes for need in needed(values).memory}


def test_the_size_of_what_is_to_be_written_is_counted_by_hand(small, atlas):
    assert atlas("index", small).exit_code == 0
    assert needed(small).disk_bytes == SAMPLE_BYTES + OTHER_BYTES
    small["sample"]["attribution"] = ["bee", "cat"]
    fewer = 3 * (2 * IMAGES + 4 * 2 * CELLS)
    assert needed(small).disk_bytes == SAMPLE_BYTES + OTHER_BYTES - fewer
    small["sample"]["positions_per_image"] = 2
    assert layouts(small) == {LATE: layout_bytes(2 * IMAGES, CHANNELS, NEIGHBORS)}


def test_it_is_said_before_the_work(small, atlas, have):
    have(disk=20_000_000, memory=3_000_000_000)
    result = atlas("project", small)
    assert result.exit_code == 0
    workspace = small["run"]["workspace"]
    said = f"the run will write up to 6.8 kB to {workspace} (20.0 MB free); the layout of 4 needs"
    (line,) = [line for line in result.stderr.splitlines() if "up to" in line]
    assert line.startswith(said)
    assert line.endswith("GB of memory (3.0 GB free)")
    assert result.stderr.index(line) < result.stderr.index("sample 4")
    # A finished run has no needs.
    assert "up to" not in atlas("project", small).stderr


def test_too_little_disk_is_refused_before_anything_is_sampled(small, atlas, have, tmp_path, refused):
    have(disk=SAMPLE_BYTES)
    refused(
        atlas("run", small),
        "up to 8.1 kB",
        "3.2 kB are free",
        "images.num_images",
        "sample.attribution",
        "run.workspace",
    )
    assert not list((tmp_path / "workspace").glob("cache/sample/*/part-*"))


def test_too_little_memory_is_refused_before_anything_is_sampled(small, atlas, have, tmp_path, refused):
    have(memory=10**9)
    refused(atlas("run", small), "layout of 4", "of memory", "1.0 GB are free", "project.fit_on")
    assert not list((tmp_path / "workspace").glob("cache/sample/*/part-*"))
    # Sampling alone needs no layout.
    assert atlas("sample", small).exit_code == 0


def test_every_task_of_a_pass_over_units_writes_a_state(small, atlas):
    assert atlas("index", small).exit_code == 0
    alone = needed(small).disk_bytes
    small["units"] = {"shard_size": 25, "num_top": 4, "per_range": 2, "ranges": [0, 2]}
    # Histograms of 162 bins, four whole numbers or sums of eight bytes, and the least value; the examples.
    per_unit = 162 * 16 + 5 * 8 + 4 + 4 * 16 + 3 * 2 * 24
    assert needed(small).disk_bytes == alone + 3 * CHANNELS * per_unit
    small["units"]["shard_size"] = 60
    assert needed(small).disk_bytes == alone + CHANNELS * per_unit


def test_a_large_picture_is_counted_twice_and_so_are_its_tiles(small):
    small["invert"]["size_px"] = 80
    small["grid"]["sizes"] = [20, 320]
    pixels = (320 * 80) ** 2
    atlas_of = {step.stage.name: step for step in steps_of(parse_config(small)) if step.grid == 320}
    (coarse,) = [s for s in steps_of(parse_config(small)) if (s.stage.name, s.grid) == ("stitch", 20)]
    assert disk_of(atlas_of["stitch"]) == 2 * 4 * pixels
    assert disk_of(coarse) == 0
    small["stitch"] = {"deep_zoom": True}
    (tiles,) = [s for s in steps_of(parse_config(small)) if (s.stage.name, s.grid) == ("deep_zoom", 320)]
    assert disk_of(tiles) == 2 * pixels


def test_disk_for_a_large_picture_is_asked_for_before_it_is_made(
    small, finished, atlas, have, monkeypatch, refused
):
    finished(small)
    monkeypatch.setattr(atlas_picture, "_LARGE_PICTURE_BYTES", 0)
    have(disk=1000)
    refused(atlas("run", small, "--set", "stitch.scale=full"), "up to 18.4 kB", "grid.sizes")


def test_an_almost_finished_sample_needs_only_the_rest(small, atlas, have, tmp_path, refused):
    small["sample"]["shard_size"] = 15
    assert atlas("sample", small).exit_code == 0
    (folder,) = (tmp_path / "workspace" / "cache" / "sample").glob("*")
    (folder / "manifest.json").unlink()
    (folder / "part-00003.parquet").unlink()
    assert needed(small, only={"sample"}).disk_bytes == SAMPLE_BYTES // 4
    have(disk=SAMPLE_BYTES // 4)
    assert atlas("sample", small).exit_code == 0
    # With --force the whole sample is made anew, so it needs its full size.
    refused(atlas("sample", small, "--force"), "up to 3.2 kB")


def test_a_finished_sample_leaves_the_layout_to_be_weighed(small, atlas):
    assert atlas("sample", small).exit_code == 0
    assert needed(small).disk_bytes == OTHER_BYTES
    assert layouts(small) == {LATE: layout_bytes(IMAGES, CHANNELS, NEIGHBORS)}


def test_layers_laid_out_together_are_weighed_together(small, atlas):
    small["layers"] = ["1", LATE]
    small["project"]["align"] = True
    assert atlas("index", small).exit_code == 0
    weighed = layouts(small)
    assert set(weighed) == {"1", LATE, "2 layers together"}
    assert weighed["2 layers together"] == aligned_layout_bytes(IMAGES, 2, NEIGHBORS)


def test_on_other_machines_memory_is_not_known_and_a_url_tells_no_free_space(small, have):
    have(memory=0, disk=0)
    config = parse_config({**small, "run": {"workspace": "s3://bucket/atlas"}})
    huge = Needs(disk_bytes=10**15, memory=[MemoryNeed("the layout of 4", 10**15, "fit less")])
    assert preflight.refuse_unmet(config, huge, is_here=False) is None


def test_the_largest_task_has_to_fit(have):
    have(memory=5)
    needs = [MemoryNeed(f"the layout of {layer}", size, "fit less") for layer, size in (("a", 4), ("b", 5))]
    # Workers do not begin both at once.
    assert refuse_unmet_memory(needs) == "the layout of b needs about 5 B of memory (5 B free)"
    have(memory=4)
    with pytest.raises(ResourceError, match=r"the layout of b needs about 5 B .* 4 B are free; fit less"):
        refuse_unmet_memory(needs)
    assert refuse_unmet_memory([]) is None


def test_the_engine_is_told_what_each_task_needs(small, atlas, monkeypatch):
    monkeypatch.setattr(extent, "_LARGE_BYTES", 0)
    small["layers"] = ["1", LATE]
    small["sample"]["shard_size"] = 25
    assert atlas("index", small).exit_code == 0
    config = parse_config(small)
    store, steps = Store(config.run.workspace), steps_of(config)
    found = preflight.needs_by_siblings(config, left(steps, store), store, "cpu")
    memory_of = preflight.memory_of_tasks(found)
    # Equal for both layers: they are sampled together.
    samples = {memory_of(step) for step in steps if step.stage.name == "sample"}
    assert samples == {25 * (8 + CLASSES + CHANNELS + CLASSES) * 8}
    layouts = {step.layer: memory_of(step) for step in steps if step.stage.name == "project"}
    assert layouts == {
        "1": layout_bytes(IMAGES, 8, NEIGHBORS),
        LATE: layout_bytes(IMAGES, CHANNELS, NEIGHBORS),
    }
    assert {memory_of(step) for step in steps if step.stage.name == "tiles"} == {0}


def test_wide_samples_and_fine_grids_are_weighed_where_they_are_large(small, atlas, monkeypatch):
    monkeypatch.setattr(extent, "_LARGE_BYTES", 0)
    assert atlas("index", small).exit_code == 0
    small["sample"]["shard_size"] = 25
    weighed = {need.task: need for need in needed(small).memory}
    assert set(weighed) == {"the layout of 4", "sampling 25 images", "binning 4"}
    assert weighed["sampling 25 images"].num_bytes == 25 * (CHANNELS + CLASSES) * 8
    # Binning holds the sums of all grids and a copy of one; here there is only one grid.
    assert weighed["binning 4"].num_bytes == 2 * CELLS * (CHANNELS + CLASSES) * 8


def test_free_space_that_may_not_be_asked_for_is_told(small, may_not_look, tmp_path):
    config = parse_config({**small, "run": {"workspace": str(tmp_path / "theirs" / "workspace")}})
    may_not_look(tmp_path / "theirs")
    with pytest.raises(ResourceError, match="permission denied"):
        preflight.refuse_unmet(config, Needs(disk_bytes=7, memory=()), is_here=True)


def test_tsne_needs_no_neighbours(small, atlas, states):
    small["project"] |= {"method": "tsne", "perplexity": 5}
    assert atlas("index", small).exit_code == 0
    assert needed(small).disk_bytes == SAMPLE_BYTES + OTHER_BYTES - IMAGES * NEIGHBORS * 8
    assert not [step for step in states(small) if step.startswith("neighbors")]


def test_free_space_is_that_of_the_nearest_folder_that_exists(small, tmp_path, monkeypatch):
    asked = []
    usage = SimpleNamespace(free=7)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(Path(path)) or usage)
    config = parse_config({**small, "run": {"workspace": str(tmp_path / "not" / "yet")}})
    said = preflight.refuse_unmet(config, Needs(disk_bytes=7, memory=()), is_here=True)
    assert "7 B free" in said
    assert asked == [tmp_path]


@pytest.mark.parametrize("version", [1, 2])
def test_the_limits_of_all_groups_around_a_process_bound_the_memory(tmp_path, version):
    """A container's own group is the root; SLURM's groups are some folders deeper."""
    root, own = tmp_path / "groups", tmp_path / "own"
    controllers = "memory" if version == 1 else ""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    own.write_text(f"5:cpu,cpuacct:/other\n4:{controllers}:/slurm/job_7/step_0\n")
    for folder, limit in (("", 1000), ("slurm/job_7", 800), ("other", 10)):
        group = root / controllers / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / names[0]).write_text(f"{limit}\n")
        (group / names[1]).write_text("600\n")
        (group / "memory.stat").write_text(f"anon 500\n{names[2]} 50\n")
    assert devices._left_in_groups(devices._control_groups(own, root)) == [450, 250]
    assert devices._left_in_groups(devices._control_groups(tmp_path / "none", root)) == [450]
    (root / controllers / names[0]).write_text("max\n")
    assert devices._left_in_groups(devices._control_groups(own, root)) == [250]


def test_available_memory_is_no_more_than_the_machine_has():
    assert 0 < devices.available_memory_bytes() <= psutil.virtual_memory().total
