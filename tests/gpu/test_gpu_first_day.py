"""The script for the first day of a GPU machine runs to its end, on the CPU and on a pretended GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pretended_cuda import pretended_cuda

from scripts.benchmarks.gpu_first_day import __main__ as first_day
from scripts.benchmarks.gpu_first_day.section import Section, Setup, Table, run_section

PARTS = ["numbers", "layouts", "rates", "sampling", "neighbours", "layout", "inversion", "memory"]


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """`report(device, sections)`: the exit code and the JSON of a run in small."""

    def call(device: str, sections: list[str]) -> tuple[int, dict[str, Any]]:
        options = ["--device", device, "--quick", "--network", "demo", "--out", str(tmp_path)]
        code = first_day.main([*options, "--sections", *sections])
        assert "| stage | quantity |" in (tmp_path / "gpu_first_day.md").read_text()
        return code, json.loads((tmp_path / "gpu_first_day.json").read_text())

    return call


def verdicts(report: dict[str, Any]) -> set[str]:
    rows = [row for section in report["sections"] for table in section["tables"] for row in table["rows"]]
    return {row["verdict"] for row in rows if "verdict" in row}


def test_every_part_ends_on_a_pretended_gpu(report, capfd):
    with pretended_cuda() as log:
        code, found = report("cuda", PARTS)
    assert [section["error"] for section in found["sections"]] == [None] * len(PARTS)
    assert (code, "FAILED" in verdicts(found)) == (0, False)
    assert log.launches_of("convolution") > 0


def test_a_wrong_number_is_a_failure(report, monkeypatch, capfd):
    import torch

    from atlas_pipeline.models import Network

    logits = Network.logits

    def wrong(network: Network, images: torch.Tensor) -> torch.Tensor:
        return logits(network, images) * (1.01 if images.is_cuda else 1)

    monkeypatch.setattr(Network, "logits", wrong)
    with pretended_cuda():
        code, found = report("cuda", ["numbers"])
    assert (code, "FAILED" in verdicts(found)) == (1, True)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("device", "sections"),
    # The first test of this file has the numbers of the pretended GPU.
    [("cpu", ["numbers", "whole run"]), ("cuda", ["whole run"])],
)
def test_a_whole_run_has_equal_artefacts(report, device, sections, capfd):
    with pretended_cuda():
        code, found = report(device, sections)
    assert (code, verdicts(found) <= {"equal", "within", "reported"}) == (0, True)


def test_a_section_that_fails_or_hangs_keeps_its_tables(capfd):
    def hangs(_: Setup):
        yield Table("first", [{"value": 1}])
        while True:
            pass

    def fails(_: Setup):
        yield Table("first", [{"value": 1}])
        raise ValueError("wrong")

    setup = Setup("cpu", network="demo")
    slow = run_section(Section("slow", 0.05, "torch", hangs), setup)
    failed = run_section(Section("failed", 5, "torch", fails), setup)
    assert (slow.error, len(slow.tables)) == ("stopped after 0.05 s", 1)
    assert (failed.error, len(failed.tables)) == ("ValueError: wrong", 1)


def test_the_sections_end_within_ten_minutes():
    assert sum(section.limit_s for section in first_day.SECTIONS) <= 600
