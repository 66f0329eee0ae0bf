"""A measure is declared once: the table feeds the JSON, its schema, the tiles, the report and the viewer."""

import base64
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from atlas_pipeline.document.schema_check import atlas_schema, document_problems
from atlas_pipeline.inversion import icon_numbers
from atlas_pipeline.measures import table
from atlas_pipeline.measures.measure import Baseline, Column, InViewer, Measure, of_baseline, of_cells
from atlas_pipeline.stages.atlas import invert
from atlas_pipeline.tables.artefact_cache import OncePerArtefact
from atlas_pipeline.tables.columns import columns_of_measures
from atlas_pipeline.viewer.measure_files import measure_columns, measure_list

TOY = Measure(
    name="brightness",
    source="invert",
    kind="share",
    description="Mean of the icon's pixels",
    baselines=(Baseline(name="brightness", description="Median of real crops", source="real crops"),),
    columns=(
        Column(
            name="brightness_median",
            heading="brightness",
            style="share",
            value=of_cells("brightness", np.median),
            meaning="How bright the icons are.",
            large="brightness, median",
        ),
        Column(
            name="brightness_real",
            heading="real brightness",
            style="share",
            value=of_baseline("brightness"),
            large="real crops",
            is_baseline=True,
        ),
    ),
    viewer=InViewer(column="bright", colour="Brightness", panel="Brightness", help="how bright an icon is."),
    figure="mean of the pixels",
)


def value(path):
    return json.loads(path.read_text()[len("atlas.receive(") : -len(");\n")])


def array(one):
    dtype = np.dtype(one["type"].lower()).newbyteorder("<")
    return np.frombuffer(zlib.decompress(base64.b64decode(one["data"])), dtype)


@pytest.fixture
def toy(monkeypatch):
    """One more measure, computed beside the others and listed in the table."""
    legible = icon_numbers.legibility_numbers

    def with_brightness(images, real, num_threads=1):
        return {
            **legible(images, real, num_threads),
            "brightness": (images.mean(axis=(1, 2, 3)) / 255).astype(np.float32),
        }

    for module in (icon_numbers, invert):
        monkeypatch.setattr(module, "legibility_numbers", with_brightness)
    # The crops' numbers that an earlier test left have no brightness, and those of this test do.
    monkeypatch.setattr(invert, "_real_crops", OncePerArtefact(invert._real_crops.function, keep=1))
    monkeypatch.setattr(table, "MEASURES", (*table.MEASURES, TOY))
    # The stage read its columns from the table before TOY was added.
    declared = (*invert.INVERT.columns, *columns_of_measures("invert"))
    monkeypatch.setattr(invert, "INVERT", replace(invert.INVERT, columns=declared))


def test_a_measure_of_the_table_is_everywhere(toy, small, atlas, tmp_path):
    result = atlas("run", small)
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "workspace" / "runs" / "small"
    document = json.loads((folder / "4" / "all" / "atlas-3.json").read_text())
    assert document_problems(document) == []
    brightness = [cell["brightness"] for cell in document["cells"]]
    assert 0 < min(brightness) <= max(brightness) < 1
    assert 0 < document["baselines"]["brightness"] < 1
    levels = array(value(folder / "4" / "all" / "tiles-3" / "grid.js")["bright"])
    assert levels / 10_000 == pytest.approx(brightness, abs=1e-4)
    (listed,) = [one for one in value(folder / "viewer" / "run.js")["measures"] if one["name"] == TOY.name]
    assert (listed["column"], listed["colour"], listed["step"]) == ("bright", "Brightness", 1e-4)
    page, median = (folder / "report.html").read_text(), np.median(brightness)
    assert f"<dt>brightness, median</dt><dd>{median:.0%}<small>real crops" in page
    assert "<dd>How bright the icons are.</dd>" in page
    assert "<th>real brightness</th>" in page
    (heads,) = [line for line in result.stdout.splitlines() if line.startswith("layer ")]
    assert " brightness" in heads
    assert "real brightness" not in heads


def test_a_measure_that_is_not_in_the_table_is_nowhere(small, atlas, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "MEASURES", tuple(m for m in table.MEASURES if m.name != "saturated"))
    assert atlas("run", small).exit_code == 0
    folder = tmp_path / "workspace" / "runs" / "small"
    document = json.loads((folder / "4" / "all" / "atlas-3.json").read_text())
    assert document_problems(document) == []
    assert "saturated" not in document["baselines"]
    assert all("saturated" not in cell for cell in document["cells"])
    assert "saturated pixels" not in (folder / "report.html").read_text()


def test_every_name_is_given_once_and_leads_somewhere():
    names = [measure.name for measure in table.MEASURES]
    baselines = [baseline for measure in table.MEASURES for baseline in measure.baselines]
    columns = [column.name for measure in table.MEASURES for column in measure.columns]
    in_viewer = {measure.name for measure in table.MEASURES if measure.viewer}
    for listed in (names, [baseline.name for baseline in baselines], columns):
        assert len(set(listed)) == len(listed)
    assert {baseline.of for baseline in baselines} - {""} <= set(names)
    beside = {name for measure in table.MEASURES if measure.viewer for name, _ in measure.viewer.beside}
    assert beside <= in_viewer


def test_the_json_keeps_the_order_of_its_keys():
    assert [measure.name for measure in table.in_document_order()] == [
        "round_trip",
        "coherence",
        "consistency",
        "fidelity",
        "fidelity_centred",
        "fidelity_whitened",
        "nearest",
        "noise",
        "saturated",
        "spectrum_distance",
        "colour_distance",
        "transfer",
        "transfer_real",
        "transfer_other",
        "transfer_noise",
        "path",
        "path_other",
        "path_by_layer",
        "ground",
    ]


def test_the_schema_bounds_a_number_by_its_kind():
    cell = atlas_schema()["$defs"]["cell"]["properties"]
    assert cell["fidelity"]["$ref"] == "#/$defs/cosine"
    assert (cell["consistency"]["minimum"], cell["consistency"]["maximum"]) == (0, 1)
    assert cell["round_trip"]["type"] == ["integer", "null"]
    assert "maximum" not in cell["spectrum_distance"]


def test_numbers_of_every_kind_come_back_from_their_levels(monkeypatch):
    far = Measure(name="far", source="bin", kind="distance", description="", viewer=InViewer(column="far"))
    monkeypatch.setattr(table, "MEASURES", (*table.MEASURES, far))
    columns = measure_columns(
        {
            "round_trip": np.array([0, 70_000]),
            "fidelity": np.array([-0.5, np.nan]),
            "far": np.array([3.0, 40]),
            "path": np.array([-0.5, 1.5]),
        }
    )
    assert list(columns) == ["roundTrip", "farStep", "far", "fidelity", "pathStep", "path"]
    assert array(columns["roundTrip"]).tolist() == [0, 65_535]
    assert array(columns["fidelity"]).tolist() == [-5000, -32768]
    assert array(columns["far"]) * columns["farStep"] == pytest.approx([3, 40], abs=1e-3)
    assert array(columns["path"]) * columns["pathStep"] == pytest.approx([-0.5, 1.5], abs=1e-4)
    assert [one["step"] for one in measure_list() if one["kind"] in ("rank", "distance")] == [1, None]
