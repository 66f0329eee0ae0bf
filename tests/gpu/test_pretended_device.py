"""The pretended device itself: it refuses what a GPU refuses, and counts what a GPU would wait for."""

import threading

import pytest
import torch
from emulated_tf32 import rounded
from pretended_cuda import OUT_OF_MEMORY, DeviceMixError, GpuTensor, StreamRaceError, pretended_cuda


def test_an_operation_refuses_tensors_of_two_devices(gpu):
    with pytest.raises(DeviceMixError, match="cpu and cuda:0"):
        torch.ones(3, device="cuda") + torch.ones(3)


def test_two_gpus_do_not_mix():
    with pretended_cuda(2) as log, pytest.raises(DeviceMixError, match="cuda:0 and cuda:1"):
        torch.ones(3, device="cuda:0") + torch.ones(3, device="cuda:1")
    assert log.touched == {0, 1}


def test_numpy_of_a_gpu_tensor_is_refused(gpu):
    with pytest.raises(TypeError, match="numpy"):
        torch.ones(3, device="cuda").numpy()


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.sum().item(),
        lambda t: float(t[0]),
        lambda t: t.cpu(),
        lambda t: t.tolist(),
        lambda t: t.nonzero(),
        lambda t: t[t > 0],
        lambda t: t[torch.tensor([0])],
        lambda t: t + torch.ones(3).to(t.device),
        lambda t: torch.cuda.synchronize(),
    ],
)
def test_reading_a_value_counts_as_a_wait(gpu, read):
    values = torch.ones(3, device="cuda")
    gpu.clear()
    read(values)
    assert gpu.num_waits == 1


def test_arithmetic_waits_for_nothing_and_counts_its_launches(gpu):
    values = torch.ones(3, device="cuda")
    gpu.clear()
    ((values * 2 + 1).view(3, 1) @ values.view(1, 3)).sum()
    assert (gpu.num_waits, gpu.num_launches, gpu.launches_of("mm")) == (0, 4, 1)


def test_pinned_memory_goes_up_without_a_wait(gpu):
    pinned = torch.arange(8.0).pin_memory()[2:6]
    assert pinned.is_pinned()
    found = pinned.to("cuda", non_blocking=True)
    assert (gpu.num_waits, gpu.bytes_up, found.cpu().tolist()) == (0, 16, [2, 3, 4, 5])


def test_a_pinned_copy_holds_garbage_until_the_host_waits(gpu):
    values = torch.arange(4.0, device="cuda")
    copied = torch.empty(4, pin_memory=True)
    gpu.clear()
    copied.copy_(values, non_blocking=True)
    assert (gpu.num_waits, copied.isnan().all()) == (0, True)
    torch.cuda.current_stream().synchronize()
    assert (gpu.num_waits, copied.tolist()) == (1, [0, 1, 2, 3])


def test_an_event_covers_the_copies_before_it_alone(gpu):
    first, second = (torch.empty(1, pin_memory=True) for _ in range(2))
    first.copy_(torch.ones(1, device="cuda"), non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    second.copy_(torch.ones(1, device="cuda"), non_blocking=True)
    event.synchronize()
    assert first.item() == 1
    assert second.isnan().all()


def test_changing_pinned_memory_before_its_copy_has_finished_raises(gpu):
    pinned = torch.zeros(4).pin_memory()
    pinned.to("cuda", non_blocking=True)
    pinned.numpy()[:] = 1
    with pytest.raises(StreamRaceError, match="page-locked"):
        torch.cuda.synchronize()


def test_another_streams_tensor_needs_a_wait(gpu):
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        values = torch.ones(3, device="cuda") * 2
    with pytest.raises(StreamRaceError):
        values + 1
    torch.cuda.current_stream().wait_stream(side)
    assert (values + 1).tolist() == [3, 3, 3]


def test_an_event_orders_two_streams(gpu):
    side, event = torch.cuda.Stream(), torch.cuda.Event()
    with torch.cuda.stream(side):
        values = torch.ones(3, device="cuda") * 2
        event.record()
    torch.cuda.current_stream().wait_event(event)
    values + 1
    assert gpu.num_waits == 0


def test_a_graph_computes_at_replay_and_not_at_capture(gpu):
    total, step = torch.zeros(2, device="cuda"), torch.ones(2, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        double = step * 2
        total += double
    assert total.tolist() == [0, 0]
    assert double.isnan().all()
    gpu.clear()
    graph.replay()
    step.fill_(5)
    graph.replay()
    assert (total.tolist(), gpu.launches_of("graph replay")) == ([12, 12], 2)


def test_a_graph_holds_a_backward_pass(gpu):
    weight = torch.ones(3, device="cuda", requires_grad=True)
    values = torch.arange(3.0, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (gradient,) = torch.autograd.grad((weight * values).square().sum(), weight)
    graph.replay()
    assert gradient.tolist() == [0, 2, 8]


def test_a_wait_during_a_capture_raises(gpu):
    values = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        values.sum().item()


def test_other_threads_see_the_gpu(gpu):
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.ones(2, device="cuda")))
    thread.start()
    thread.join()
    assert isinstance(found[0], GpuTensor)


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_memory_runs_out_at_the_chosen_call(gpu, kind):
    gpu.refuse(kind, "mul", call=2, more_rows_than=3)
    values = torch.ones(4, device="cuda")
    values[:3] * 2
    values * 2
    with pytest.raises(type(OUT_OF_MEMORY[kind]())):
        values * 2
    values * 2


def test_device_without_index_is_the_current_gpu():
    with pretended_cuda(2) as log:
        torch.cuda.set_device(1)
        values = torch.ones(3, device="cuda")
        torch.cuda.mem_get_info()
        with torch.cuda.device(1):
            torch.cuda.Stream()
    assert values.device == torch.device("cuda", 1)
    assert log.touched == {1}


def test_tf32_keeps_ten_bits():
    step = 2.0**-10
    values = torch.tensor([1 + step, 1 + step / 2, 1 + step / 4, -1 - step / 2, 0.0, torch.inf])
    assert rounded(values).tolist() == [1 + step, 1 + step, 1.0, -1 - step, 0.0, torch.inf]


@pytest.fixture
def convolutions():
    """(input, weight) of a convolution whose TF32 result differs."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, 8, 8, generator=generator), torch.rand(4, 3, 3, 3, generator=generator)


def test_convolutions_round_and_products_do_not_by_default(convolutions):
    images, weight = convolutions
    matrix = images[0, 0]
    with pretended_cuda(tf32=True):
        convolved = torch.conv2d(images.cuda(), weight.cuda()).cpu()
        product = (matrix.cuda() @ matrix.cuda()).cpu()
    assert torch.equal(convolved, torch.conv2d(rounded(images), rounded(weight)))
    assert not torch.equal(convolved, torch.conv2d(images, weight))
    assert torch.equal(product, matrix @ matrix)


@pytest.fixture
def switches():
    """Torch's switches of convolutions and of matrix products; what a test sets is undone."""
    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = conv.fp32_precision, matmul.fp32_precision
    yield conv, matmul
    conv.fp32_precision, matmul.fp32_precision = before


def test_switches_turn_tf32_off_and_on(convolutions, switches):
    images, weight = convolutions
    matrix = images[0, 0]
    conv, matmul = switches
    conv.fp32_precision, matmul.fp32_precision = "ieee", "tf32"
    with pretended_cuda(tf32=True):
        convolved = torch.conv2d(images.cuda(), weight.cuda()).cpu()
        product = (matrix.cuda() @ matrix.cuda()).cpu()
    assert torch.equal(convolved, torch.conv2d(images, weight))
    assert torch.equal(product, rounded(matrix) @ rounded(matrix))


def test_gradients_round_as_well(convolutions):
    images, weight = convolutions
    with pretended_cuda(tf32=True):
        there = images.cuda().requires_grad_(True)
        (gradient,) = torch.autograd.grad(torch.conv2d(there, weight.cuda()).sum(), there)
        gradient = gradient.cpu()
    here = images.clone().requires_grad_(True)
    (rounded_gradient,) = torch.autograd.grad(torch.conv2d(here, rounded(weight)).sum(), here)
    assert torch.equal(gradient, rounded_gradient)


def test_nothing_is_left_when_the_block_ends():
    before = torch.cuda.Stream, torch.autocast.__init__, threading.Thread.start
    with pretended_cuda():
        assert torch.cuda.is_available()
    assert (torch.cuda.Stream, torch.autocast.__init__, threading.Thread.start) == before
    assert "pin_memory" not in vars(torch.Tensor)


def test_a_number_in_where_is_waited_for(gpu):
    values = torch.rand(3, device="cuda")
    gpu.clear()
    torch.where(values > 0.5, values, torch.zeros((), device="cuda"))
    assert gpu.num_waits == 0
    torch.where(values > 0.5, values, 0.0)
    assert gpu.num_waits == 1


def test_a_graph_replay_may_run_out_of_memory(gpu):
    values, graph = torch.zeros(2, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        values += 1
    graph.replay()
    gpu.refuse("torch", "graph replay")
    with pytest.raises(torch.OutOfMemoryError):
        graph.replay()
    assert values.tolist() == [1, 1]
