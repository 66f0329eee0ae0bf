"""The network is checked once before sampling, with a table of results and a refusal where it fails."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store
from atlas_pipeline.runs.checks import made_elsewhere, with_checks
from atlas_pipeline.runs.pipeline_file import steps_of

EARLY, LATE = "1", "4"

# For each kind, the statement that changes the small network before `build` returns it.
SPOILT = {
    "sound": "",
    "random": "network[3] = Noisy(network[3])",
    "no gradient": "network[3] = Stopped(network[3])",
    "softmax": "network.append(nn.Softmax(dim=1))",
    "faint": "network[4] = Faint()",
}
CODE = """

class Noisy(nn.Sequential):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5))

class Stopped(nn.Sequential):
    def forward(self, x):
        return super().forward(x.detach() if float(x.sum()) < 1e9 else x)

class Faint(nn.Module):
    def forward(self, x):
        return nn.functional.relu(x) * 1e-7

_good = build

def build():
    network = _good()
    {spoil}
    return network
"""


@pytest.fixture
def spoilt(small, tmp_path):
    """`spoilt(kind)`: config of the small run, with its network changed to that kind."""
    source = (tmp_path / "network.py").read_text()

    def call(kind):
        (tmp_path / "network.py").write_text(source + CODE.format(spoil=SPOILT[kind]))
        return small

    return call


def _parts(tmp_path, stage):
    return sorted((tmp_path / "workspace" / "cache" / stage).glob("*/part-*.parquet"))


def test_check_prints_a_table_and_samples_nothing(small, atlas, tmp_path):
    small["layers"] = [EARLY, LATE]
    result = atlas("check", small)
    assert result.exit_code == 0, result.stderr
    title, header, *rows = result.stdout.splitlines()
    assert "6 images" in title
    assert header.split()[:3] == ["layer", "check", "verdict"]
    assert [line.split()[0] for line in rows if not line.startswith(" ")] == ["(network)", EARLY, LATE]
    assert not any(" fails " in line or " note " in line for line in rows)
    assert not _parts(tmp_path, "sample")
    # Both layers share one task.
    assert len(_parts(tmp_path, "check")) == 2


def test_a_check_is_made_once(small, atlas, states):
    first = atlas("check", small)
    again = atlas("check", small)
    assert again.stdout == first.stdout
    assert "check" in first.stderr
    assert "check" not in again.stderr
    assert states(small)[f"check {LATE}"] == "done"
    assert states(small)[f"sample {LATE}"] == "missing"
    # The check covers the size of the icons, but not the grid.
    assert states(small, "--set", "grid.sizes=[4]")[f"check {LATE}"] == "done"
    assert states(small, "--set", "invert.size_px=24")[f"check {LATE}"] == "missing"


def test_a_run_begins_with_it_in_one_line(small, atlas):
    lines = atlas("run", small).stderr.splitlines()
    (said,) = [number for number, line in enumerate(lines) if "checked on 6 images: all well" in line]
    assert "1 layer" in lines[said]
    assert not any(line.startswith("sample") for line in lines[:said])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("random", ["same twice", "'3' (Noisy) draws random numbers"]),
        ("no gradient", [f"layer '{LATE}'", "gradient", "detach()"]),
    ],
)
def test_what_fails_is_refused_before_anything_is_sampled(
    spoilt, atlas, states, tmp_path, refused, monkeypatch, kind, words
):
    config = spoilt(kind)
    refused(atlas("run", config), *words, "atlas check CONFIG")
    assert not _parts(tmp_path, "sample")
    assert states(config)[f"check {LATE}"] == "done"
    table = atlas("check", config)
    refused(table, *words)
    assert " fails " in table.stdout

    def open_network(*_):
        raise AssertionError("what was found before is said without the network")

    monkeypatch.setattr("atlas_pipeline.runs.make.opened_network", open_network)
    refused(atlas("sample", config), *words, "--force")


def test_force_checks_anew(spoilt, atlas, refused, monkeypatch):
    """A fault may be fixed where no config shows it, in a module that the network's file imports."""
    config = spoilt("random")
    refused(atlas("check", config), "same twice")
    monkeypatch.setattr("torch.nn.functional.dropout", lambda x, p: x)
    refused(atlas("check", config), "same twice")
    assert atlas("check", config, "--force").exit_code == 0
    assert atlas("sample", config).exit_code == 0


def test_a_check_of_another_device_counts_for_nothing(small, atlas, monkeypatch):
    assert atlas("check", small).exit_code == 0
    config = parse_config(small)
    checks = [step for step in with_checks(steps_of(config)) if step.stage.name == "check"]
    store = Store(config.run.workspace)
    assert not made_elsewhere(checks, store, "cpu")
    assert made_elsewhere(checks, store, "cuda:0")
    monkeypatch.setattr("atlas_pipeline.runs.make.made_elsewhere", lambda *_: True)
    assert "checked on 6 images" in atlas("sample", small).stderr


def test_a_note_does_not_stop_a_run_and_is_remarked_upon(spoilt, atlas):
    result = atlas("run", spoilt("softmax"))
    assert result.exit_code == 0, result.stderr
    assert "return logits, without the softmax" in result.stdout
    assert "1 note: atlas check CONFIG" in result.stderr


def test_a_network_of_a_users_own_pipeline_is_checked(spoilt, atlas, tmp_path, refused):
    (tmp_path / "mine.py").write_text(
        "from atlas_pipeline.stages.sampling import index, sample\n"
        "def pipeline(config):\n"
        "    yield from sample.steps(config, index.step(config)).values()\n"
    )
    refused(atlas("run", spoilt("random"), "--pipeline", str(tmp_path / "mine.py")), "same twice")


def test_icons_that_no_pipeline_makes_are_not_tried(spoilt, atlas, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from atlas_pipeline.stages.sampling import index, sample\n"
        "def pipeline(config):\n"
        "    yield from sample.steps(config, index.step(config)).values()\n"
    )
    assert atlas("run", spoilt("no gradient"), "--pipeline", str(tmp_path / "mine.py")).exit_code == 0


def test_faint_activations_are_stored_as_they_are(spoilt, atlas, tmp_path):
    """float16 would round them to 0; the table states the stored type."""
    config = spoilt("faint")
    config["sample"]["attribution"] = "none"
    assert "activations float32" in atlas("check", config).stdout
    assert atlas("sample", config).exit_code == 0
    stored = [pq.read_table(part)["activation"].combine_chunks() for part in _parts(tmp_path, "sample")]
    values = np.concatenate([column.flatten().to_numpy() for column in stored])
    assert values.dtype == np.float32
    assert 0 < np.abs(values).max() < 1e-5


def test_unreadable_images_are_replaced_by_others(small, atlas, tmp_path):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    for number in range(6):
        (folder / f"bad{number}.png").write_bytes(b"no picture")
    config = {**small, "images": {"source": "folder", "path": str(folder), "max_bad": 0.9}}
    result = atlas("check", config)
    assert result.exit_code == 0, result.stderr
    assert "6 images" in result.stdout
