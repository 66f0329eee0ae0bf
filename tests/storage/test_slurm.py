"""The example in docs/cluster.md requests from SLURM the resources that it states."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

QUIET = {"dashboard_address": "127.0.0.1:0"}
DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.mark.extended
def test_the_documented_cluster_gives_each_worker_a_gpu_and_one_task(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    # Importing it replaces the handler of Ctrl-C for the whole process, and so for later tests.
    signal.signal(signal.SIGINT, before)
    asked = []

    class Unsubmitted(dask_jobqueue.SLURMCluster):
        """Writes its job script and submits nothing; uses the loopback interface, which every machine has."""

        def __init__(self, **options):
            super().__init__(**{**options, "interface": "lo", "scheduler_options": QUIET})

        def scale(self, n=None, jobs=0):
            asked.append((jobs, self.job_script()))

    commands = []
    monkeypatch.setattr(dask_jobqueue, "SLURMCluster", Unsubmitted)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    exec(compile(example, str(DOCS), "exec"), {})
    # Dask also scales to zero jobs, at the start and at the end.
    ((jobs, script),) = [call for call in asked if call[0]]
    assert jobs == 16
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH --cpus-per-task=8", "--nthreads 1"):
        assert line in script
    assert "export OMP_NUM_THREADS=8" in script
    (command,) = commands
    assert command[:4] == ["atlas", "run", "CONFIG", "--device"]
    assert command[-1].startswith("tcp://127.0.0.1:")
