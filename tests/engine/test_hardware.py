"""The device of a run: which one `auto` takes, and a word about a GPU that torch cannot use."""

import stat

import pytest
import torch
from dask import system

from atlas_pipeline.engine.hardware import (
    device_title,
    num_cores,
    resolved_device,
    unusable_gpu,
    visible_gpus,
)
from atlas_pipeline.errors import ResourceError


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver that lists one GPU, on a machine where torch finds `found` GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def listed(answers, found=0, cuda="13.0"):
        script = tmp_path / "nvidia-smi"
        cases = "\n".join(f'*"={field} "*) echo "{answer}";;' for field, answer in answers.items())
        script.write_text(f'#!/bin/sh\ncase "$1 $3 " in\n{cases}\nesac\n')
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
        monkeypatch.setattr(torch.version, "cuda", cuda)

    return listed


OLD_DRIVER = {"name,driver_version": "NVIDIA A100, 470.82", "index": "0"}
TWO_CARDS = {"index": "0\n1", "name --id=0": "card 0", "name --id=1": "card 1"}


def test_auto_takes_the_gpu_that_torch_finds(driver):
    driver(TWO_CARDS, found=2)
    assert resolved_device("auto") == "cuda"
    assert resolved_device("cuda:1") == "cuda:1"
    assert [device_title("cuda"), device_title("cuda:1")] == ["cuda (card 0)", "cuda:1 (card 1)"]
    assert device_title("cuda:7") == "cuda:7"
    assert unusable_gpu() is None


def test_a_driver_too_old_for_torch_is_named(driver):
    driver(OLD_DRIVER)
    assert resolved_device("auto") == "cpu"
    assert visible_gpus() == ["0"]
    reason = unusable_gpu()
    assert all(fact in reason for fact in ("NVIDIA A100", "470.82", "CUDA 13.0"))
    with pytest.raises(ResourceError, match=r"run.device cuda: torch cannot use .* update the driver"):
        resolved_device("cuda")


def test_a_torch_without_cuda_is_named(driver):
    driver(OLD_DRIVER, cuda=None)
    assert "install a torch built for CUDA" in unusable_gpu()


def test_a_hidden_gpu_is_no_fault(driver, monkeypatch):
    driver(OLD_DRIVER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert unusable_gpu() is None
    assert resolved_device("auto") == "cpu"


def test_a_machine_without_a_driver_has_nothing_to_say(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert unusable_gpu() is None
    assert device_title("cpu").startswith("CPU (")


def test_a_gpu_number_beyond_those_there_is_refused(driver):
    driver(OLD_DRIVER, found=2)
    with pytest.raises(ResourceError, match=r"finds 2 GPUs .* cuda:0 to cuda:1"):
        resolved_device("cuda:2")


def test_a_container_with_a_quota_has_fewer_cores(monkeypatch):
    monkeypatch.setattr(system, "_try_extract_cgroup_cpu_quota", lambda: (None, None))
    without_quota = num_cores()
    monkeypatch.setattr(system, "_try_extract_cgroup_cpu_quota", lambda: (150_000, 100_000))
    assert num_cores() == min(2, without_quota)
    monkeypatch.setattr(system, "_try_extract_cgroup_cpu_quota", lambda: (50_000, 100_000))
    assert num_cores() == 1
