"""Recognises the errors that mean: memory ran out."""

from __future__ import annotations

import torch

# Torch's own exception is for its GPU allocator alone. CUDA's libraries and page-locked memory raise a
# RuntimeError, and so does the host's memory, with several texts.
_WORDS = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` means that GPU or host memory ran out.

    Example:

    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    True
    """
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in _WORDS)
