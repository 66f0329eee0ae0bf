"""Train a small network on CIFAR-10 from Parquet shards in the Hugging Face layout.

    python -m scripts.training.cifar10 --images 'path/to/train-*.parquet' --test 'path/to/test-*.parquet'

`--network` is `cnn` (inception-style), `resnet` or `vit`. A config uses the trained `cnn` by
`model: {source: python, name: "scripts/training/cifar10.py:build", weights: ...}`. The functions for the
other two are `build_resnet` and `build_vit`.
"""

from __future__ import annotations

import argparse
import glob
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

from atlas_pipeline.models.demo_network import SmallInception

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
    """The untrained `cnn` for 32 px images: mixed3 16 x 16, mixed4 8 x 8, mixed5 4 x 4."""
    return SmallInception(
        len(LABELS), width=64, num_blocks=(1, 2, 1), num_stem_pools=1, pool_before_mixed5=True
    )


def build_resnet() -> ResNet:
    """torchvision's ResNet with ten layers and a stem for 32 px images: layer1 16 x 16, ... layer4 2 x 2."""
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(LABELS))
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.MaxPool2d(2)
    return network


def build_vit() -> VisionTransformer:
    """torchvision's vision transformer: six blocks, 64 tokens (8 x 8) and a class token, 128 channels."""
    stem = [ConvStemConfig(32, 3, 1), ConvStemConfig(64, 3, 2), ConvStemConfig(128, 3, 2)]
    return VisionTransformer(
        image_size=32,
        patch_size=4,
        num_layers=6,
        num_heads=4,
        hidden_dim=128,
        mlp_dim=256,
        num_classes=len(LABELS),
        conv_stem_configs=stem,
    )


# Plain SGD does not train transformers: their gradients differ too much between layers.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "cnn": (build, {}),
    "resnet": (build_resnet, {}),
    "vit": (build_vit, {"optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.05}),
}


def read_images(pattern: str) -> tuple[Tensor, Tensor]:
    """Decode all images of the shards.

    Returns: uint8 (image, 3, 32, 32) and int64 labels (image,).
    Raises:  SystemExit: no file matches the pattern.
    """
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
    # Imported here because configs load this file for `build`, also where `scripts` is not importable.
    from scripts.training.fitting import (
        Schedule,
        accuracy,
        console,
        fit,
        flip_and_shift,
        prepare,
        save_weights,
    )

    arguments = _arguments()
    device = prepare(arguments.seed, arguments.threads)
    images, labels = read_images(arguments.images)
    test_images, test_labels = read_images(arguments.test)
    builder, options = NETWORKS[arguments.network]
    network = builder()
    console.print(
        f"{len(images)} images, {sum(p.numel() for p in network.parameters())} weights, on {device}"
    )
    started = time.perf_counter()
    fit(
        network,
        images,
        labels,
        Schedule(epochs=arguments.epochs, label_smoothing=0.05, seed=arguments.seed, **options),
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
    out = arguments.out or Path(f"data/cifar10_{arguments.network}.safetensors")
    save_weights(network, out, metadata)
    print(f"test accuracy {test_accuracy:.4f}, {metadata['seconds']} s, {out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", required=True, help="glob of training shards (columns image.bytes, label)"
    )
    parser.add_argument("--test", required=True, help="glob of test shards")
    parser.add_argument("--network", choices=list(NETWORKS), default="cnn")
    parser.add_argument("--out", type=Path, help="weights file (default: data/cifar10_NETWORK.safetensors)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's own choice)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
