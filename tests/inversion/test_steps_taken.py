"""Progress counts the steps that the device has taken, and nothing waits for it."""

import pytest
import torch

from atlas_pipeline.inversion import steps_taken as module
from atlas_pipeline.inversion.steps_taken import StepsTaken


def test_a_step_of_a_batch_counts_as_a_share_of_its_icons():
    told = []
    taken = StepsTaken(told.append, 4, torch.device("cpu"))
    taken.join([0, 1])
    taken.step()
    assert told == [0.5]
    # A third icon joins one step later.
    taken.join([0, 1, 2])
    taken.step()
    assert told == [0.5, 0.75]
    taken.finish([0])  # after two steps of four: it stopped early
    assert sum(told) == pytest.approx(1 + 0.5 + 0.25)
    for _ in range(9):
        taken.step()
    # No icon counts more than once, however long it stays in the batch.
    assert sum(told) == pytest.approx(3)
    taken.finish([1, 2])
    assert sum(told) == pytest.approx(3)


def test_lost_steps_are_not_told_twice():
    told = []
    taken = StepsTaken(told.append, 4, torch.device("cpu"))
    taken.join([0, 1])
    for _ in range(3):
        taken.step()
    assert sum(told) == pytest.approx(1.5)
    taken.restart([0, 1])
    taken.join([0])
    for _ in range(4):
        taken.step()
    taken.finish([0])
    assert sum(told) == pytest.approx(1.5)
    taken.join([1])
    for _ in range(4):
        taken.step()
    taken.finish([1])
    assert sum(told) == pytest.approx(2)
    assert min(told) > 0


def test_on_a_gpu_only_steps_that_have_ended_count(monkeypatch):
    ended, asked = [], []

    class Event:
        def record(self, stream):
            asked.append(stream)

        def query(self):
            return self in ended

        def synchronize(self):
            raise AssertionError("progress must not wait")

    made = []
    monkeypatch.setattr(module.torch.cuda, "Event", lambda: made.append(Event()) or made[-1])
    monkeypatch.setattr(module.torch.cuda, "current_stream", lambda device: "stream")
    told = []
    taken = StepsTaken(told.append, 32, torch.device("cuda"))
    taken.join([0, 1])
    for _ in range(16):
        taken.step()
    assert told == []
    assert len(made) == 2
    ended.append(made[0])
    taken.step()
    assert told == [2 * 8 / 32]
    # The batch is looked at, which waits for the device by itself.
    taken.all_taken()
    taken.finish([0, 1])
    assert sum(told) == pytest.approx(2)


def test_without_a_listener_no_event_is_recorded(monkeypatch):
    monkeypatch.setattr(module.torch.cuda, "Event", None)
    taken = StepsTaken(None, 8, torch.device("cuda"))
    taken.join([0])
    for _ in range(20):
        taken.step()
    taken.finish([0])
