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

    counts: list[float] = []
    icons = invert(small_memory, directions, SEEDS, settings, advance=counts.append)
    # The first calls use one image to find the window that the centre sees.
    batches = [size for size in sizes if size > 1]
    assert batches[:2] == [6, 3]
    assert sum(counts) == pytest.approx(6)
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

    counts: list[float] = []
    icons = invert(shrinking, directions, SEEDS, settings, advance=counts.append)
    assert sum(counts) == pytest.approx(6)
    # Steps that were lost are not counted again.
    assert min(counts) > 0
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


CUDA = torch.device("cuda")


class Gpu:
    """A GPU's memory: a step takes 1,000 bytes and 10 an icon, and the first one 5,000 that stay."""

    def __init__(self, monkeypatch, free_bytes):
        self.free_bytes, self.steps, self.peak, self.largest = free_bytes, [], 0, 1 << 30
        gpu = self

        class Peak:
            def __init__(self, device):
                assert device == CUDA

            def __enter__(self):
                gpu.peak = 0
                return self

            def __exit__(self, *_):
                self.peak_bytes = gpu.peak

        monkeypatch.setattr(memory, "PeakMemory", Peak)
        monkeypatch.setattr(memory, "free_bytes", lambda device: gpu.free_bytes)

    def step(self, num_icons):
        self.steps.append(num_icons)
        if num_icons > self.largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.peak = 1000 + 10 * num_icons + 5000 * (len(self.steps) == 1)

    def batch(self, num_icons, network=None, settings="s"):
        return memory.chosen_batch(self.step, num_icons, CUDA, network or torch.nn.Identity(), settings)


@pytest.fixture
def gpu(monkeypatch):
    """Room for 600 icons in the usable share of the free memory."""
    return Gpu(monkeypatch, free_bytes=int((1000 + 600 * 10 + 5) / 0.7))


@pytest.mark.parametrize(
    ("num_icons", "batch"), [(32, 32), (33, 33), (600, 600), (601, 301), (1024, 512), (1201, 401)]
)
def test_the_fewest_equal_batches_that_fit_are_chosen(gpu, num_icons, batch):
    assert gpu.batch(num_icons) == batch


def test_large_memory_takes_all_icons_up_to_the_largest_batch(gpu):
    gpu.free_bytes = 1 << 40
    assert [gpu.batch(num) for num in (700, 1024, 1025)] == [700, 1024, 513]


def test_memory_for_less_than_the_fixed_part_leaves_one_icon(gpu):
    gpu.free_bytes = 900
    assert gpu.batch(100) == 1


def test_memory_is_measured_once_for_a_network_and_settings(gpu):
    network = torch.nn.Identity()
    gpu.batch(1000, network)
    assert gpu.steps == [8, 8, 32]
    gpu.free_bytes //= 2  # the room is that of now
    assert gpu.batch(1000, network) == 250
    assert gpu.steps == [8, 8, 32]
    gpu.batch(1000, network, settings="other")
    gpu.batch(1000, torch.nn.Identity())
    assert gpu.steps == [8, 8, 32] * 3


def test_what_was_measured_goes_with_the_network(gpu):
    network, num = torch.nn.Identity(), len(memory._KNOWN)
    gpu.batch(1000, network)
    assert len(memory._KNOWN) == num + 1
    del network
    assert len(memory._KNOWN) <= num


@pytest.mark.parametrize("largest", [4, 8])
def test_a_trial_that_does_not_fit_gives_a_small_batch(gpu, largest):
    gpu.largest = largest
    assert gpu.batch(1000) == 8


def test_another_error_of_the_trial_keeps_its_type(gpu):
    def broken(num_icons):
        raise RuntimeError("a kernel is broken")

    with pytest.raises(RuntimeError, match="kernel is broken"):
        memory.chosen_batch(broken, 1000, CUDA, torch.nn.Identity(), "s")


def test_a_cpu_takes_its_batch_without_a_trial(gpu):
    for num_icons, batch in ((5, 5), (1000, 32)):
        device = torch.device("cpu")
        assert memory.chosen_batch(gpu.step, num_icons, device, torch.nn.Identity(), "s") == batch
    assert gpu.steps == []


def test_icons_are_optimised_in_the_batch_chosen_for_their_network(
    feature_map, directions, settings, monkeypatch
):
    asked = []

    def chosen(step, num_icons, device, network, key):
        step(3)
        asked.append((num_icons, device.type, network, key))
        return 2

    monkeypatch.setattr(memory, "chosen_batch", chosen)
    counts: list[float] = []
    icons = invert(feature_map, directions, SEEDS, settings, advance=counts.append)
    assert counts == pytest.approx([2 / settings.steps] * 3 * settings.steps)
    assert asked == [(6, "cpu", feature_map, settings)]
    monkeypatch.undo()
    assert_same_icons(icons, invert(feature_map, directions, SEEDS, settings))


def test_evaluation_halves_too(monkeypatch):
    monkeypatch.setattr(memory, "CPU_BATCH", 5)

    def evaluate(which):
        if len(which) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return which * 10

    parts = list(memory.in_batches(evaluate, 7, "cpu"))
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    assert torch.cat(parts).tolist() == [0, 10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [32, 32, 6]), ("cuda:0", [70])])
def test_a_gpu_evaluates_in_few_batches(device, sizes):
    assert [len(part) for part in memory.in_batches(lambda which: which, 70, device)] == sizes
