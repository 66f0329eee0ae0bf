"""The yardsticks and the judge of icons on a pretended GPU: no device is mixed, the numbers are the CPU's."""

from __future__ import annotations

import pytest
from pretended_cuda import pretended_cuda

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.engine.declaration import bind
from atlas_pipeline.engine.stage import Job, Runtime
from atlas_pipeline.runs.pipeline_file import steps_of

JUDGE = """
import torch
from torch import nn

def build():
    torch.manual_seed(7)
    features = [nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(16, 7))

PREPROCESS = dict(resize=24, crop=24)
"""


@pytest.mark.parametrize("stage", ["yardsticks", "judge_features"])
def test_a_gpu_measures_as_the_cpu_does(small, finished, tmp_path, stage):
    # A name of its own: `finished` keeps runs by their config.
    (tmp_path / "judge_for_gpu.py").write_text(JUDGE)
    judge = {"source": "python", "name": f"{tmp_path}/judge_for_gpu.py:build"}
    small["invert"] |= {"yardsticks": True, "judge": judge}
    config = parse_config(finished(small))
    store = Store(config.run.workspace)
    (step,) = [step for step in steps_of(config) if step.stage.name == stage]
    job = Job(
        config=step.config,
        settings=step.settings,
        inputs=bind(step.stage.inputs, {role: artefact_of(s, store) for role, s in step.inputs.items()}),
        layer=step.layer,
        view=step.view,
        grid=step.grid,
        fingerprint="",
    )
    here = artefact_of(step, store).read()
    with pretended_cuda():
        (output,) = step.stage.compute({"start": 0, "stop": len(here)}, [job], Runtime(device="cuda:0"))
    for name in here.column_names:
        pairs = zip(output.table[name].to_pylist(), here[name].to_pylist(), strict=True)
        assert all(one == pytest.approx(other, rel=2e-3, abs=2e-3, nan_ok=True) for one, other in pairs), name
