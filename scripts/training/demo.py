"""Train the demo network on generated images and write its weights into the package.

    python -m scripts.training.demo

Training and test images have different seeds. Atlases use neither.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn

from atlas_pipeline.images import generated
from atlas_pipeline.models.demo_network import PREPROCESS, build_demo
from atlas_pipeline.models.sources.demo import WEIGHTS_PATH
from scripts.training.fitting import Schedule, accuracy, console, fit, prepare, save_weights

TRAIN_SEED, TEST_SEED = 1_000_001, 1_000_002
NUM_TEST = 3000
_KERNEL = torch.tensor([1.0, 2.0, 1.0]) / 4
_BLUR = (_KERNEL[:, None] * _KERNEL).expand(3, 1, 3, 3)


def draw(seed: int, num_images: int) -> tuple[Tensor, Tensor]:
    """Generate images, uint8 (image, 3, 64, 64), and their labels, int64 (image,)."""
    side = PREPROCESS["crop"]
    images = torch.empty(num_images, 3, side, side, dtype=torch.uint8)
    labels = torch.empty(num_images, dtype=torch.int64)
    for index in track(range(num_images), f"images of seed {seed}", console=console, transient=True):
        pixels, labels[index] = generated.image(seed, index)
        images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
    return images, labels


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Vary contrast, brightness and noise per image, and turn some images grey; mirror or blur some batches.

    The generator chooses colours freely, so that only form is informative. Noise and blur make the highest
    frequencies uninformative, which keeps them out of the icons.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(len(images), 1, 1, 1).uniform_(low, high, generator=generator)

    mirrored, blurred = (torch.rand(2, generator=generator) < torch.tensor([0.5, 0.3])).tolist()
    if mirrored:
        images = images.flip(3)
    if blurred:
        images = nn.functional.conv2d(nn.functional.pad(images, [1] * 4, mode="reflect"), _BLUR, groups=3)
    grey = uniform(0, 1) < 0.1
    images = torch.where(grey, images.mean(1, keepdim=True), images)
    images = (images - 0.5) * uniform(0.6, 1.1) + uniform(0.4, 0.6)
    noise = torch.empty_like(images).uniform_(-1, 1, generator=generator)
    return noise.mul_(uniform(0, 0.1)).add_(images).clamp_(0, 1)


def main() -> None:
    arguments = _arguments()
    device = prepare(arguments.seed, arguments.threads)
    started = time.perf_counter()
    images, labels = draw(TRAIN_SEED, arguments.num_images)
    test_images, test_labels = draw(TEST_SEED, NUM_TEST)
    network = build_demo(len(generated.CLASS_NAMES))
    num_weights = sum(weight.numel() for weight in network.parameters())
    console.print(f"{len(images)} images, {num_weights} weights, on {device}")
    schedule = Schedule(epochs=arguments.epochs, seed=arguments.seed)
    fit(network, images, labels, schedule, PREPROCESS, augment, device)
    test_accuracy = accuracy(network, test_images, test_labels, PREPROCESS, device)
    metadata = {
        "labels": json.dumps(generated.CLASS_NAMES),
        "generator_version": str(generated.VERSION),
        "test_accuracy": f"{test_accuracy:.4f}",
        "seed": str(arguments.seed),
        "train_images": f"seed {TRAIN_SEED}, indices below {arguments.num_images}",
        "test_images": f"seed {TEST_SEED}, indices below {NUM_TEST}",
        "epochs": str(arguments.epochs),
        "seconds": f"{time.perf_counter() - started:.0f}",
    }
    save_weights(network, arguments.out, metadata)
    print(f"test accuracy {test_accuracy:.4f}, {metadata['seconds']} s, {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=24_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's own choice)")
    parser.add_argument("--out", type=Path, default=WEIGHTS_PATH)
    return parser.parse_args()


if __name__ == "__main__":
    main()
