"""The number of GPU workers that a scheduler has."""

from contextlib import ExitStack

import pytest

from atlas_pipeline.engine.dask_executor import DaskExecutor


class Client:
    """A scheduler whose workers find these devices, by address, and declare these GPUs."""

    def __init__(self, devices, declared):
        self.devices, self.declared = devices, declared

    def subscribe_topic(self, *_):
        pass

    def scheduler_info(self, **_):
        resources = {name: {"GPU": 1} if name in self.declared else {} for name in self.devices}
        return {"workers": {name: {"resources": own} for name, own in resources.items()}}

    def run(self, function, *arguments, workers, on_error):
        assert (function.__name__, arguments, on_error) == ("resolved_device", ("auto",), "return")
        return {name: self.devices[name] for name in workers}


@pytest.mark.parametrize(
    ("device", "found", "declared", "num"),
    [
        ("auto", {"one": "cuda", "two": "cuda"}, "", 2),
        ("auto", {"one": "cuda", "two": "cpu"}, "", 0),
        ("auto", {"one": "cuda", "two": "cpu"}, ["one"], 1),
        ("auto", {"one": "cpu", "two": "cpu"}, ["one"], 0),
        ("auto", {"one": "cuda", "two": ModuleNotFoundError("torch")}, "", 0),
        ("auto", {"one": "cuda", "lost": OSError("closed")}, "", 2),
        ("cuda", {"one": "not asked", "two": "not asked"}, "", 2),
        ("cuda", {"one": "not asked", "two": "not asked"}, ["two"], 1),
        ("cpu", {"one": "not asked"}, ["one"], 0),
    ],
)
def test_gpus_of_a_scheduler_are_those_that_its_workers_find(device, found, declared, num):
    with ExitStack() as stack:
        assert DaskExecutor(lambda: Client(found, declared), stack).num_gpus(device) == num
