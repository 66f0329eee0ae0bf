"""Which worker may take a task, how many cores it gets, and how many tasks fit beside each other."""

import pytest
import toy_stages
from toy_stages import Step, stage_of

from atlas_pipeline.engine import Runtime, worker
from atlas_pipeline.engine import lanes as lanes_module
from atlas_pipeline.engine.agenda import priorities
from atlas_pipeline.engine.fingerprint import ordered
from atlas_pipeline.engine.lanes import Lanes, cpu_lanes, gpu_lanes
from atlas_pipeline.engine.task import Demand
from atlas_pipeline.errors import ResourceError

ON_GPU, ON_CPU = Demand(uses_device=True), Demand()


@pytest.fixture
def machine(monkeypatch):
    """`machine(cores, gpus)`: act as a machine with so many cores and with these GPUs."""

    def set_up(cores, gpus=""):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        for module in (lanes_module, worker):
            monkeypatch.setattr(module, "num_cores", lambda: cores)

    return set_up


def test_one_worker_a_gpu_and_the_others_see_none(machine):
    machine(16, "4,7")
    workers = gpu_lanes("cuda").workers()
    assert [(w.environment["CUDA_VISIBLE_DEVICES"], dict(w.resources)) for w in workers] == [
        ("4", {"GPU": 1}),
        ("7", {"GPU": 1}),
        *[("", {"CPU": 1})] * 8,
    ]
    assert gpu_lanes("cuda", most=1).gpus == ("4",)
    assert gpu_lanes("cuda:1").gpus == ("7",)
    machine(16)
    with pytest.raises(ResourceError, match="no GPU is visible"):
        gpu_lanes("cuda")


@pytest.mark.parametrize(
    ("cores", "gpus", "gpu_threads", "num_cpu", "cpu_threads"),
    [(16, "0", 8, 8, 1), (128, "0,1,2,3,4,5,6,7", 8, 8, 8), (2, "0", 1, 1, 1), (1, "0", 1, 1, 1)],
)
def test_gpu_workers_share_half_of_the_cores(machine, cores, gpus, gpu_threads, num_cpu, cpu_threads):
    machine(cores, gpus)
    lanes = gpu_lanes("cuda")
    assert (lanes.gpu_threads, lanes.num_cpu, lanes.cpu_threads) == (gpu_threads, num_cpu, cpu_threads)
    assert lanes.workers()[0].environment["OMP_NUM_THREADS"] == str(gpu_threads)
    assert lanes.workers()[-1].environment["OMP_NUM_THREADS"] == str(cpu_threads)


def test_workers_without_a_gpu_share_the_cores(machine, monkeypatch):
    machine(8)
    workers = cpu_lanes(3).workers()
    assert [worker.environment["OMP_NUM_THREADS"] for worker in workers] == ["2"] * 3
    assert "CUDA_VISIBLE_DEVICES" not in workers[0].environment
    assert cpu_lanes(16).cpu_threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert set(cpu_lanes(2).workers()[0].environment.values()) == {"3"}


def test_a_gpu_worker_decodes_with_its_share_of_the_cores(machine):
    machine(16, "0,1")
    lanes = gpu_lanes("cuda")
    auto, told = Runtime(device="cuda"), Runtime(device="cuda", workers=3)
    assert lanes.runtime(auto, ON_GPU).workers == 8
    assert lanes.runtime(told, ON_GPU).workers == 3
    for runtime in (auto, told):
        beside = lanes.runtime(runtime, ON_CPU)
        assert (beside.device, beside.workers) == ("cpu", 0)
    assert cpu_lanes(4).runtime(auto, ON_GPU).workers == 0
    assert cpu_lanes(4).runtime(told, ON_GPU).workers == 3


def test_the_worker_of_a_given_gpu_calls_it_the_first(machine):
    machine(16, "0,1")
    assert gpu_lanes("cuda:1").runtime(Runtime(device="cuda:1"), ON_GPU).device == "cuda"


def test_steps_that_use_all_cores_share_them(machine, monkeypatch):
    machine(16)
    threads = {n: cpu_lanes(16).runtime(Runtime(), Demand(sharing=n)).threads for n in (0, 1, 3, 40)}
    assert threads == {0: 1, 1: 16, 3: 5, 40: 1}
    # Numba can lower its threads later, not raise them.
    assert cpu_lanes(16).workers()[0].environment["NUMBA_NUM_THREADS"] == "16"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cpu_lanes(16).runtime(Runtime(), Demand(sharing=1)).threads == 2


def test_on_an_existing_scheduler_the_worker_counts_its_share(machine, monkeypatch):
    machine(16)
    monkeypatch.setattr(worker, "num_gpus", lambda: 2)
    assert worker.runtime_here(Runtime(device="cuda")).workers == 8
    assert worker.runtime_here(Runtime(device="cuda", workers=3)).workers == 3
    assert worker.runtime_here(Runtime(device="cpu")).workers == 0


def test_a_worker_has_one_task_at_a_time():
    lanes = Lanes(gpus=("0", "1"), num_cpu=1, cores=4)
    assert lanes.beginning([ON_CPU, ON_GPU, ON_GPU, ON_GPU, ON_CPU], []) == [0, 1, 2]
    assert lanes.beginning([ON_GPU, ON_GPU, ON_CPU], [ON_GPU, ON_CPU]) == [0]
    alike = Lanes(num_cpu=2, cores=2)
    assert alike.beginning([ON_CPU, ON_GPU], [ON_GPU]) == [0]


def test_calls_begin_by_priority_then_in_their_order():
    lanes = Lanes(num_cpu=3, cores=4)
    waiting = [Demand(priority=number) for number in (0, 2, 1, 2, 1)]
    assert lanes.beginning(waiting, []) == [1, 3, 2]


def test_tasks_that_run_at_once_fit_the_memory(monkeypatch):
    monkeypatch.setattr(lanes_module, "_IDLE_BYTES", 1)
    lanes = Lanes(num_cpu=4, cores=4, memory_bytes=14)
    five, six = Demand(memory_bytes=5), Demand(memory_bytes=6)
    assert lanes.beginning([five], [five]) == [0]
    assert lanes.beginning([six], [five]) == []
    assert lanes.beginning([ON_CPU], [five, five]) == [0]
    # A task that needs more than there is may run alone.
    assert lanes.beginning([Demand(memory_bytes=99)], [ON_CPU]) == [0]
    # Nothing that needs memory passes a task that waits for memory.
    large = Demand(memory_bytes=9, priority=1)
    assert lanes.beginning([five, large, ON_CPU], [five]) == [2]


def test_the_way_to_the_device_comes_first_and_pages_last():
    device = stage_of("invert", toy_stages.one_task, toy_stages.list_task, uses_device=True)
    other = stage_of("other", toy_stages.one_task, toy_stages.list_task)
    sample = Step(stage=device, config={"of": "sample"})
    layout = Step(stage=other, config={"of": "layout"}, inputs={"a": sample})
    coarse = Step(stage=device, config={"of": "coarse"}, inputs={"a": layout})
    fine = Step(stage=device, config={"of": "fine"}, inputs={"a": coarse, "b": layout})
    page = Step(stage=other, config={"of": "page"}, inputs={"a": coarse})
    found = priorities(ordered([page, fine]))
    assert {step.config["of"]: number for step, number in found.items()} == {
        "sample": 3,
        "layout": 2,
        "coarse": 2,
        "fine": 1,
        "page": 0,
    }
