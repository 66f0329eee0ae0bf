"""Shared code of the training scripts: one-cycle training with progress, accuracy, the weights file.

Legend: B = batch, N = images, H, W = pixels. Images are uint8 and are scaled to [0, 1] batch by batch.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

# (float (B, 3, H, W) in [0, 1], generator on the CPU) -> (B, 3, H, W) in [0, 1]
Augment = Callable[[Tensor, torch.Generator], Tensor]
console = Console(stderr=True)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One-cycle schedule for SGD with Nesterov momentum, or for AdamW."""

    epochs: int
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    batch_size: int = 128
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    seed: int = 0


def prepare(seed: int, num_threads: int | None) -> torch.device:
    """Seed weight initialisation, set the number of threads, and return CUDA if available, else the CPU."""
    torch.manual_seed(seed)
    if num_threads:
        torch.set_num_threads(num_threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    preprocess: Mapping[str, Any],
    augment: Augment,
    device: torch.device,
) -> None:
    """Train in place; reproducible for the same seed, device and number of threads.

    Args:
        images: uint8 (N, 3, H, W), on the CPU.
        labels: int64 (N,).
        preprocess: `mean` and `std`, three floats each, for images in [0, 1].
    """
    generator = torch.Generator().manual_seed(schedule.seed)
    network.to(device, memory_format=torch.channels_last).train()
    num_steps = len(images) // schedule.batch_size
    optimizer = _optimizer(network, schedule)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=num_steps * schedule.epochs, pct_start=0.25
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing)
    with _progress() as progress:
        for epoch in range(schedule.epochs):
            started, loss_sum, num_right = time.perf_counter(), 0.0, 0
            order = torch.randperm(len(images), generator=generator)[: num_steps * schedule.batch_size]
            for chosen in progress.track(
                order.split(schedule.batch_size), description=f"epoch {epoch + 1}/{schedule.epochs}"
            ):
                batch = augment(images[chosen].float() / 255, generator)
                loss, logits = _step(network, batch, labels[chosen], preprocess, loss_of, optimizer, device)
                cycle.step()
                loss_sum += loss
                num_right += int((logits.argmax(1) == labels[chosen]).sum())
            console.print(
                f"epoch {epoch + 1}/{schedule.epochs}: loss {loss_sum / num_steps:.3f}, "
                f"training accuracy {num_right / len(order):.3f}, {time.perf_counter() - started:.0f} s"
            )


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    rate, decay = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    return torch.optim.SGD(network.parameters(), rate, 0.9, weight_decay=decay, nesterov=True)


def _step(
    network: nn.Module,
    batch: Tensor,
    labels: Tensor,
    preprocess: Mapping[str, Any],
    loss_of: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> tuple[float, Tensor]:
    with torch.autocast(device.type, torch.bfloat16, enabled=_bfloat16_is_native(device)):
        logits = network(_normalised(batch, preprocess, device)).float()
    loss = loss_of(logits, labels.to(device))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item(), logits.detach().cpu()


def accuracy(
    network: nn.Module, images: Tensor, labels: Tensor, preprocess: Mapping[str, Any], device: torch.device
) -> float:
    """Share of images, uint8 (N, 3, H, W), whose largest logit is the label; float32, no augmentation."""
    network.to(device, memory_format=torch.channels_last).eval()
    num_right = 0
    with torch.inference_mode():
        for batch, target in zip(images.split(500), labels.split(500), strict=True):
            logits = network(_normalised(batch.float() / 255, preprocess, device))
            num_right += int((logits.argmax(1).cpu() == target).sum())
    return num_right / len(images)


def flip_and_shift(images: Tensor, generator: torch.Generator, shift_px: int) -> Tensor:
    """Mirror each image with probability 1/2 and shift it by up to `shift_px`, with reflected borders."""
    num_images, _, height, width = images.shape
    padded = nn.functional.pad(images, [shift_px] * 4, mode="reflect").permute(0, 2, 3, 1)
    top, left = torch.randint(0, 2 * shift_px + 1, (2, num_images, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    mirrored = torch.rand(num_images, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(num_images)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def save_weights(network: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write weights, metadata and the command line as safetensors; the file is replaced atomically."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    partial = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        save_file(weights, partial, {"command": shlex.join(["python", *sys.orig_argv[1:]]), **metadata})
        partial.chmod(0o644)  # safetensors makes it readable by its owner only
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _normalised(batch: Tensor, preprocess: Mapping[str, Any], device: torch.device) -> Tensor:
    mean, std = (torch.tensor(preprocess[key], device=device).view(1, 3, 1, 1) for key in ("mean", "std"))
    return ((batch.to(device) - mean) / std).contiguous(memory_format=torch.channels_last)


def _bfloat16_is_native(device: torch.device) -> bool:
    # Emulated bfloat16 is slower than float32; on a CPU with AMX tiles, bfloat16 is about twice as fast.
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return has_tiles is not None and has_tiles()


def _progress() -> Progress:
    columns: Sequence[Any] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)
