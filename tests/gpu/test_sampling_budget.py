"""How often the host waits and launches in the stage `sample`: budgets for a further batch.

A wait leaves the GPU idle while the host prepares its next work; a launch costs the host some microseconds.
Budgets are what the code needs, and little more: raise one only for a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from pretended_cuda import Log, pretended_cuda

from atlas_pipeline.cli.main import main


@dataclass
class Further:
    """Waits and launches of one more unit of work, by line."""

    waits: Counter[tuple[str, str]]
    launches: Counter[tuple[str, str]]

    def assert_within(self, waits: float, launches: float) -> None:
        assert sum(self.waits.values()) <= waits, self.waits.most_common()
        assert sum(self.launches.values()) <= launches, self.launches.most_common()


def further(work: Callable[[int], object], few: int, many: int) -> Further:
    """The account of each unit of work beyond the first ``few``."""
    logs: list[Log] = []
    for num in (few, many):
        with pretended_cuda() as log:
            work(num)
        logs.append(log)

    def each(name: str) -> Counter[tuple[str, str]]:
        before, after = (Counter(getattr(log, name)) for log in logs)
        after.subtract(before)
        return Counter({key: count / (many - few) for key, count in after.items() if count})

    return Further(each("waits"), each("launches"))


def test_a_batch_of_images(small: dict[str, Any], tmp_path: Path):
    def batches(num: int) -> None:
        run = {**small["run"], "device": "cuda", "workspace": str(tmp_path / str(num)), "batch_size": 8}
        images = {"source": "generated", "num_images": 8 * num}
        config = {**small, "layers": ["1", "4"], "images": images, "sample": {"shard_size": 1000}, "run": run}
        path = tmp_path / f"{num}.yaml"
        path.write_text(yaml.safe_dump(config))
        result = CliRunner().invoke(main, ["sample", str(path), "--quiet"], catch_exceptions=False)
        assert result.exit_code == 0, result.stderr

    with pretended_cuda():
        # The network and its trials are cached in the process.
        batches(2)
    further(batches, 3, 7).assert_within(waits=1, launches=80)
