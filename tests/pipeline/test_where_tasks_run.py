"""Where the tasks of a command run, and that the driver leaves GPUs to the workers."""

import os
from contextlib import nullcontext

import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import InlineExecutor, Store
from atlas_pipeline.engine.dask_executor import DaskExecutor
from atlas_pipeline.engine.growing_executor import GrowingExecutor
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.runs import executors, make
from atlas_pipeline.runs.commands import with_checks
from atlas_pipeline.runs.make import RunOptions
from atlas_pipeline.runs.pipeline_file import steps_of


@pytest.fixture
def machine(monkeypatch):
    """`machine(cores, memory, gpus)`: act as such a machine."""

    def set_up(cores=4, memory_gb=100, gpus=""):
        monkeypatch.setattr(executors, "num_cores", lambda: cores)
        monkeypatch.setattr(executors, "available_memory_bytes", lambda: memory_gb << 30)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)

    return set_up


@pytest.mark.parametrize(
    ("cores", "memory_gb", "local_cluster", "kind"),
    [
        (4, 100, "auto", GrowingExecutor),
        (1, 100, "auto", InlineExecutor),
        (4, 1, "auto", InlineExecutor),
        (4, 100, 0, InlineExecutor),
        (4, 100, 3, DaskExecutor),
    ],
)
def test_auto_starts_workers_where_they_pay(machine, cores, memory_gb, local_cluster, kind):
    machine(cores, memory_gb)
    with executors.executor_for("cpu", local_cluster, None) as executor:
        assert type(executor) is kind


def test_auto_takes_no_more_workers_than_cores_and_memory_allow(machine):
    for cores, memory_gb, num_workers in ((4, 100, 4), (8, 3, 3)):
        machine(cores, memory_gb)
        with executors.executor_for("cpu", "auto", None) as executor:
            assert executor._workers.lanes.num_cpu == num_workers


def test_beside_a_gpu_there_are_workers_unless_refused(machine):
    machine(gpus="0,1")
    for local_cluster, gpus in (("auto", ("0", "1")), (1, ("0",))):
        with executors.executor_for("cuda", local_cluster, None) as executor:
            assert executor.lanes.gpus == gpus
    with executors.executor_for("cuda", 0, None) as executor:
        assert type(executor) is InlineExecutor


@pytest.mark.parametrize(
    ("local_cluster", "cluster", "opened_on"),
    [("auto", None, "cpu"), (2, None, "cpu"), (0, None, "cuda:1"), ("auto", "tcp://there:1", "cpu")],
)
def test_the_driver_leaves_the_gpu_to_the_workers(
    small, monkeypatch, machine, local_cluster, cluster, opened_on
):
    """It opens the network on its own, to look up layers and classes."""
    machine(gpus="0,1")
    opened, current = [], []

    class Opened(Exception):
        pass

    def opened_network(spec, device):
        opened.append(device)
        raise Opened

    monkeypatch.setattr(make, "opened_network", opened_network)
    monkeypatch.setattr(make, "resolved_device", lambda device: device)
    monkeypatch.setattr(make, "current_gpu", lambda device: current.append(device) or nullcontext())
    small["run"]["device"] = "cuda:1"
    config = parse_config(small)
    steps = with_checks(steps_of(config))
    options = RunOptions(local_cluster=local_cluster, cluster=cluster)
    with pytest.raises(Opened):
        make.make(config, steps, Store(config.run.workspace), options)
    assert opened == current == [opened_on]


def test_two_kinds_of_cluster_exclude_each_other():
    RunOptions(cluster="tcp://there:1", local_cluster="auto")
    with pytest.raises(ConfigError, match="exclude each other"):
        RunOptions(cluster="tcp://there:1", local_cluster=2)


def test_the_option_takes_a_number_or_auto(small, atlas, monkeypatch, refused):
    from atlas_pipeline.runs import commands

    given = []

    def run(config, pipeline, **options):
        given.append(options["local_cluster"])
        raise ConfigError("enough")

    monkeypatch.setattr(commands, "run", run)
    monkeypatch.delenv("ATLAS_LOCAL_CLUSTER")
    atlas("run", small)
    atlas("run", small, "--local-cluster", "0")
    atlas("run", small, "--local-cluster", "3")
    os.environ["ATLAS_LOCAL_CLUSTER"] = "2"
    atlas("run", small)
    assert given == ["auto", 0, 3, 2]
    assert atlas("run", small, "--local-cluster", "many").exit_code == 2
    assert atlas("run", small, "--local-cluster", "-1").exit_code == 2
