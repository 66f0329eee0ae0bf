"""Requirements that a worker must share with the driver, and runs that lose their scheduler."""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
import toy_stages
from toy_bench import Bench

import atlas_pipeline
from atlas_pipeline.engine import worker
from atlas_pipeline.engine.cluster import existing_cluster, local_cluster
from atlas_pipeline.engine.dask_executor import DaskExecutor, _check_visible
from atlas_pipeline.engine.lanes import cpu_lanes
from atlas_pipeline.engine.part import PartRecord
from atlas_pipeline.engine.stage import Runtime
from atlas_pipeline.engine.task import Outcome, TaskCall
from atlas_pipeline.errors import ResourceError, TasksFailedError


@pytest.fixture
def terms(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_PATIENCE_S", 0.0)
    with worker.requirements_for(tmp_path / "work" / "cache") as terms:
        yield terms
    assert not terms.token_path.exists()


def test_a_worker_like_the_driver_is_fit(terms):
    assert worker.find_mismatch(terms) is None


# Each package affects the values in artefacts: decoding, neighbours, layouts, selections, networks.
@pytest.mark.parametrize("package", ["numpy", "numba", "scipy", "scikit-learn", "simplejpeg", "timm"])
def test_other_versions_are_named_with_both(terms, package):
    older = tuple((name, "0.1" if name == package else found) for name, found in terms.versions)
    own = dict(terms.versions)[package]
    fault = worker.find_mismatch(replace(terms, versions=older))
    assert fault.startswith(f"has {package} {own}, this machine 0.1; install the same")


def test_an_extra_may_be_absent_on_either_machine(terms):
    absent = tuple((name, "(none)" if name == "timm" else found) for name, found in terms.versions)
    assert worker.find_mismatch(replace(terms, versions=absent)) is None


def test_another_folder_under_the_same_path(terms, tmp_path):
    terms.token_path.write_text("of another machine")
    fault = worker.find_mismatch(terms)
    assert fault == f"sees another folder at {tmp_path / 'work'}; mount the same one"


@pytest.mark.parametrize("missing", ["work", "work/cache/.workers"])
def test_a_workspace_that_is_not_there(terms, tmp_path, missing):
    shutil.rmtree(tmp_path / missing)
    assert f"does not see the workspace {tmp_path / 'work'}; give" in worker.find_mismatch(terms)


def test_the_source_has_a_digest_of_its_own(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text("one = 1\n")
    before = worker._source_digest(package)
    (package / "pipelines").mkdir()
    (package / "pipelines" / "mine.py").write_text("")
    assert worker._source_digest(package) == before
    (package / "one.py").write_text("one = 2\n")
    assert worker._source_digest(package) != before


def test_a_part_that_only_the_worker_sees(bench, monkeypatch):
    monkeypatch.setattr("atlas_pipeline.engine.dask_executor.PATIENCE_S", 0.0)
    record = PartRecord(name="part-00000.parquet", rows=1, bytes=4, digest="", mtime_ns=0, schema="")
    folder = bench.store.folder("list", "0" * 16)
    call = TaskCall(
        group=1, index=0, stage=toy_stages.LIST, task={}, jobs=(), folders=(folder,), runtime=Runtime()
    )
    told = Outcome(group=1, index=0, records=(record,), notes=({},))
    assert "which is not there for this machine" in str(_check_visible(call, told).error)
    folder.mkdir(parents=True)
    (folder / record.name).write_bytes(b"four")
    assert _check_visible(call, told) == told


def listening(*pids):
    """The IP addresses on which these processes listen."""
    found = [socket for pid in pids for socket in psutil.Process(pid).net_connections("inet")]
    return {socket.laddr.ip for socket in found if socket.status == psutil.CONN_LISTEN}


def test_workers_that_see_no_workspace_get_no_work(tmp_path):
    # Each process has its own memory:// file system.
    bench = Bench(tmp_path, "memory://nobody/else")
    with local_cluster(cpu_lanes(1)) as executor:
        assert listening(os.getpid(), *executor.client.run(os.getpid).values()) == {"127.0.0.1"}
        with pytest.raises(ResourceError, match=r"worker at tcp://127.0.0.1:\d+ does not see the workspace"):
            bench.run(executor=executor)
    assert bench.ran() == []


def test_a_worker_lost_while_it_is_asked_is_not_blamed(tmp_path):
    """The worker that replaces it is checked when it gets its first task."""

    class Client:
        answers: ClassVar = {"tcp://one": None, "tcp://lost": OSError("closed")}

        def run(self, *_, **__):
            return self.answers

        def subscribe_topic(self, *_):
            pass

    with ExitStack() as stack:
        executor = DaskExecutor(Client, stack)
        assert executor._requirements_for(tmp_path).token
        Client.answers = {"tcp://one": PermissionError(13, "denied")}
        with pytest.raises(ResourceError, match=r"worker at tcp://one cannot run this package .*denied"):
            executor._requirements_for(tmp_path / "another")
        Client.answers = {"tcp://one": ResourceError("one line of its own")}
        with pytest.raises(ResourceError, match=r"^one line of its own$"):
            executor._requirements_for(tmp_path / "other")


@contextmanager
def own_scheduler(tmp_path, **environment):
    """Start a scheduler and a worker as processes; yields the scheduler's address and process."""
    where = tmp_path / "scheduler.json"
    own = {**os.environ, "PYTHONPATH": str(Path(toy_stages.__file__).parent), **environment}
    options = ["--scheduler-file", str(where), "--no-dashboard"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny"]
    # Start elsewhere: modules in the working directory would take precedence over PYTHONPATH.
    worker = subprocess.Popen([*command, *options], env=own, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        toy_stages.wait_until(lambda: where.exists() and where.read_text())
        yield json.loads(where.read_text())["address"], scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


@pytest.mark.extended
def test_a_worker_with_another_source_gets_no_work(bench, tmp_path):
    copy = tmp_path / "other"
    shutil.copytree(Path(atlas_pipeline.__file__).parent, copy / "atlas_pipeline")
    with (copy / "atlas_pipeline" / "lazy.py").open("a") as file:
        file.write("# changed\n")
    paths = os.pathsep.join([str(copy), str(Path(toy_stages.__file__).parent)])
    with (
        own_scheduler(tmp_path, PYTHONPATH=paths) as (address, _),
        existing_cluster(address) as executor,
        pytest.raises(ResourceError, match=r"has source of atlas_pipeline \w{8}, this machine \w{8}; "),
    ):
        bench.run(executor=executor)
    assert bench.ran() == []


@pytest.mark.extended
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_lost_scheduler_ends_the_run(bench, tmp_path, how):
    bench.order("sample-2", "hold")
    with own_scheduler(tmp_path) as (address, scheduler), existing_cluster(address) as executor:

        def end():
            toy_stages.wait_until(lambda: bench.log.exists() and "sample 2 a,b" in bench.ran())
            getattr(scheduler, how)()

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(TasksFailedError, match="the Dask scheduler is gone; what is done is kept"):
            bench.run(executor=executor)
        ending.join()
    (bench.orders / "sample-2").unlink()
    ran = bench.run()
    assert "list 0 " not in ran
    assert "sample 2 a,b" in ran


INTERRUPTED = """
import os, signal
from atlas_pipeline.engine.cluster import local_cluster
from atlas_pipeline.engine.lanes import cpu_lanes
if __name__ == "__main__":
    with local_cluster(cpu_lanes(2)) as executor:
        executor.client.wait_for_workers(2)
        before = executor.client.run(os.getpid)
        executor.client.run(signal.raise_signal, signal.SIGINT)
        print(len(before), executor.client.run(os.getpid) == before)
"""


@pytest.mark.extended
def test_workers_ignore_ctrl_c(tmp_path):
    # Use a fresh process: only the first worker that a process starts is at risk.
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("2 True\n", "")
