"""Errors that mean "memory ran out" are recognised wherever they come from, and never taken for others."""

import pytest
import torch
from torch import nn

from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.out_of_memory import is_out_of_memory

KINDS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", KINDS, ids=str)
def test_each_kind_is_recognised(error):
    assert is_out_of_memory(error)


def test_other_errors_are_not():
    assert not is_out_of_memory(RuntimeError("expected scalar type Float but found Half"))


@pytest.mark.parametrize("error", KINDS, ids=str)
def test_cut_does_not_take_a_lack_of_memory_for_a_network_that_cannot_be_traced(error, monkeypatch):
    network = open_network(ModelSpec(source="demo"))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(nn.Conv2d, "forward", fail)
    with pytest.raises(type(error)):
        cut(network, "mixed3")
