"""Train a small inception-style network on CIFAR-10 from Parquet shards in the Hugging Face layout.

    python scripts/train_cifar10.py --images 'path/to/train-*.parquet' --test 'path/to/test-*.parquet'

A config uses the result by `model: {source: python, name: "scripts/train_cifar10.py:build", weights: ...}`.
"""

from __future__ import annotations

import argparse
import glob
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas_pipeline.models.demo import SmallInception

if TYPE_CHECKING:
    from torch import Tensor

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PREPROCESS: dict[str, Any] = {
    "resize": 32,
    "crop": 32,
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
}


def build() -> SmallInception:
    """The network with fresh weights: 32 px in; mixed3 16 x 16, mixed4 8 x 8, mixed5 4 x 4."""
    return SmallInception(
        len(LABELS), width=64, num_blocks=(1, 2, 1), num_stem_pools=1, pool_before_mixed5=True
    )


def read_images(pattern: str) -> tuple[Tensor, Tensor]:
    """Decode all images of the shards: uint8 (image, 3, 32, 32) and int64 labels (image,)."""
    import numpy as np
    import pyarrow.parquet as pq
    import torch
    from PIL import Image

    shards = sorted(glob.glob(pattern))
    if not shards:
        raise SystemExit(f"no file matches {pattern!r}; give a quoted glob of Parquet shards")
    tables = [pq.read_table(shard, columns=["image", "label"]) for shard in shards]
    labels = np.concatenate([table["label"].to_numpy() for table in tables])
    side = PREPROCESS["crop"]
    images = np.empty((len(labels), side, side, 3), np.uint8)
    encoded = (cell["bytes"] for table in tables for cell in table["image"].to_pylist())
    for index, image_bytes in enumerate(encoded):
        images[index] = np.asarray(Image.open(io.BytesIO(image_bytes)).convert("RGB"))
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels.astype(np.int64))


def main() -> None:
    # Beside this file, so importable only when it runs as a script; `build` must not need it.
    from training import Schedule, accuracy, console, fit, flip_and_shift, prepare, save_weights

    arguments = _arguments()
    device = prepare(arguments.seed, arguments.threads)
    images, labels = read_images(arguments.images)
    test_images, test_labels = read_images(arguments.test)
    network = build()
    console.print(
        f"{len(images)} images, {sum(p.numel() for p in network.parameters())} weights, on {device}"
    )
    started = time.perf_counter()
    fit(
        network,
        images,
        labels,
        Schedule(epochs=arguments.epochs, label_smoothing=0.05, seed=arguments.seed),
        PREPROCESS,
        lambda batch, generator: flip_and_shift(batch, generator, shift_px=3),
        device,
    )
    test_accuracy = accuracy(network, test_images, test_labels, PREPROCESS, device)
    metadata = {
        "test_accuracy": f"{test_accuracy:.4f}",
        "seed": str(arguments.seed),
        "epochs": str(arguments.epochs),
        "seconds": f"{time.perf_counter() - started:.0f}",
    }
    save_weights(network, arguments.out, metadata)
    print(f"test accuracy {test_accuracy:.4f}, {metadata['seconds']} s, {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", required=True, help="glob of training shards (columns image.bytes, label)"
    )
    parser.add_argument("--test", required=True, help="glob of test shards")
    parser.add_argument("--out", type=Path, default=Path("data/cifar10_cnn.safetensors"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's own choice)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
