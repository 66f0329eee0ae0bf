import pytest
import torch

from atlas_pipeline.errors import ResourceError
from atlas_pipeline.inversion import batch_memory as memory
from atlas_pipeline.inversion import invert
from atlas_pipeline.inversion.canvas import Canvas
from atlas_pipeline.numerics.fidelity import fidelity

SEEDS = [11, 12, 13, 14, 15, 16]


def assert_same_icons(one, other):
    """Compare with the tolerances of test_invert: rounding differs by batch size and grows over the steps."""
    assert (one.images.int() - other.images.int()).abs().max() <= 2
    assert fidelity(one.activation.numpy(), other.activation.numpy()).min() > 1 - 1e-3


def test_out_of_memory_halves_the_batch_and_loses_nothing(feature_map, directions, settings):
    sizes: list[int] = []

    def small_memory(images):
        sizes.append(len(images))
        # Three icons fit in memory for the first 30 calls, and only one after that.
        if len(images) > (3 if len(sizes) <= 30 else 1):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return feature_map(images)

    counts: list[int] = []
    icons = invert(small_memory, directions, SEEDS, settings, advance=counts.append)
    # The first calls use one image to find the window that the centre sees.
    batches = [size for size in sizes if size > 1]
    assert batches[:2] == [6, 3]
    assert counts == [3, 1, 1, 1]
    assert_same_icons(icons, invert(feature_map, directions, SEEDS, settings))


def test_memory_for_not_even_one_icon_is_said(directions, settings):
    def no_memory(images):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ResourceError, match="one icon of 16 px does not fit"):
        invert(no_memory, directions, SEEDS, settings)


def test_icons_in_the_batch_start_again_when_memory_runs_short(feature_map, directions, settings):
    calls = 0

    def shrinking(images):
        nonlocal calls
        calls += 1
        # After enough steps for some icons to be in progress, another program takes the memory.
        if len(images) > 2 and calls > 40:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return feature_map(images)

    counts: list[int] = []
    icons = invert(shrinking, directions, SEEDS, settings, advance=counts.append)
    assert sum(counts) == 6
    assert_same_icons(icons, invert(feature_map, directions, SEEDS, settings))


def test_a_batch_that_cannot_be_allocated_is_halved_too(feature_map, directions, settings, monkeypatch):
    sizes: list[int] = []
    real = Canvas.start

    def start(self, seeds):
        sizes.append(len(seeds))
        if len(seeds) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(self, seeds)

    monkeypatch.setattr(Canvas, "start", start)
    invert(feature_map, directions, SEEDS, settings)
    assert sizes == [6, 3, 3]


def test_memory_that_ends_with_the_finished_icons_is_said(feature_map, directions, settings):
    calls = 0

    def spent(images):
        nonlocal calls
        calls += 1
        # Finished icons are evaluated without a gradient.
        if not torch.is_grad_enabled() and calls > settings.steps:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return feature_map(images)

    with pytest.raises(ResourceError, match="one icon of 16 px does not fit"):
        invert(spent, directions, SEEDS, settings)


@pytest.mark.parametrize(
    ("icon_bytes", "free_bytes", "batch"),
    [(1 << 20, 100 << 20, 64), (1 << 20, 1 << 20, 1), (1, 1 << 40, 1024), (1 << 30, 1 << 20, 1), (0, 10, 4)],
)
def test_the_batch_fits_the_free_memory(icon_bytes, free_bytes, batch):
    assert memory.fitting_batch(icon_bytes, free_bytes) == batch
    assert batch == 1 or batch * icon_bytes < free_bytes


def test_a_gpu_s_batch_is_tried_first(feature_map, directions, settings, monkeypatch):
    """With a CPU in place of the GPU, the trial step runs and its memory use sets the batch size."""

    class Peak:
        peak_bytes = 8 * 1000

        def __init__(self, device):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(memory, "probe_size", lambda device, num_icons: 3)
    monkeypatch.setattr(memory, "PeakMemory", Peak)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 4 * 8 * 1000 // 3)
    counts: list[int] = []
    icons = invert(feature_map, directions, SEEDS, settings, advance=counts.append)
    assert counts == [2, 2, 2]
    assert_same_icons(icons, invert(feature_map, directions, SEEDS, settings))


def test_evaluation_halves_too():
    def evaluate(which):
        if len(which) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return which * 10

    parts = list(memory.in_batches(evaluate, 7, batch_size=5))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    assert torch.cat(parts).tolist() == [0, 10, 20, 30, 40, 50, 60]
