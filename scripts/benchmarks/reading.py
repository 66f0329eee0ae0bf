"""Images per second from disk to network input, compared with torchvision's ImageFolder and DataLoader.

    python -m scripts.benchmarks.reading                          # generated photos, in a temporary folder
    python -m scripts.benchmarks.reading --photos imagenet-sample --num-photos 6000 --num-files 1000000

Prints four tables: photos to 224 px, alternating ours and torchvision's; the parts of that, one image at a
time; small images from a folder, Parquet and tar; the index of --num-files images in each source, and its
re-check. Each process has one thread. Generated files are removed at the end.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

from atlas_pipeline.images.batches import image_batches
from atlas_pipeline.images.decode import decode
from atlas_pipeline.images.listing import list_images, listing_stamp
from atlas_pipeline.images.resize_crop import apply_preprocess
from scripts.benchmarks.reading_cases import SMALL_PX, SOURCES, write_photos, write_small
from scripts.benchmarks.report import machine, print_table, write_json

BATCH_SIZE, ROUNDS = 64, 3


@dataclass(frozen=True)
class Geometry:
    """Preprocessing of the network."""

    resize: int | None = 256
    crop: int = 224
    interpolation: str = "bilinear"


def main() -> None:
    """Run the benchmark and print its tables."""
    options = _options()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = machine(device)
    with tempfile.TemporaryDirectory(prefix="bench-reading-") as made:
        folder = Path(made)
        photos = options.photos or write_photos(folder / "photos", min(500, options.num_photos))
        tables = {
            "Photos to 224 px": photo_rows(photos, options.num_photos, options.workers),
            "Parts, one image at a time": part_rows(photos, min(500, options.num_photos)),
            f"Small images ({SMALL_PX} px)": small_rows(folder / "small", options.num_small),
            "Index": index_rows(folder / "index", options.num_files),
        }
    for title, rows in tables.items():
        print_table(title, rows)
    write_json(options.json, {"machine": before, **tables})


def photo_rows(photos: Path, num_photos: int, workers: Sequence[int]) -> list[dict[str, Any]]:
    """Alternate ours and torchvision's for each number of worker processes (0: none); medians of rounds."""
    rows = []
    for num_workers in workers:
        theirs, ours = [], []
        for _ in range(ROUNDS):
            theirs.append(_rate(lambda n=num_workers: _image_folder(photos, num_photos, n)))
            ours.append(_rate(lambda n=num_workers: _ours("folder", photos, num_photos, n, Geometry())))
        for name, rates in (("ImageFolder + DataLoader", theirs), ("atlas-pipeline", ours)):
            rate = float(np.median(rates))
            over = rate / float(np.median(theirs))
            row = {"what": name, "workers": num_workers, "images/s": rate, "over ImageFolder": over}
            rows.append(row | {"rounds": rates})
    return rows


def part_rows(photos: Path, num_photos: int) -> list[dict[str, Any]]:
    """CPU milliseconds per image of decoders, resizers and both pipelines; nvJPEG if there is a GPU."""
    raw = [file.read_bytes() for file in sorted(photos.glob("*/*"))[:num_photos]]
    pixels = [decode(one) for one in raw]
    pillow = [Image.fromarray(one) for one in pixels]
    usual = Compose([Resize(256), CenterCrop(224), ToTensor()])
    parts: list[tuple[str, Callable[[Any], Any], Sequence[Any]]] = [
        ("decode, Pillow", _decode_with_pillow, raw),
        ("decode, torchvision.io", lambda one: decode_jpeg(_bytes(one), ImageReadMode.RGB), raw),
        ("decode, simplejpeg", lambda one: simplejpeg.decode_jpeg(one, "RGB", strict=False), raw),
        ("decode, ours", lambda one: decode(one, 256), raw),
        ("resize and crop, Pillow", Compose([Resize(256), CenterCrop(224)]), pillow),
        ("resize and crop, ours", lambda one: apply_preprocess(one, Geometry()), pixels),
        ("all, as ImageFolder does", lambda one: usual(_decode_with_pillow(one)), raw),
        ("all, ours", lambda one: apply_preprocess(decode(one, 256), Geometry()), raw),
    ]
    if torch.cuda.is_available():
        parts.append(("decode, nvJPEG (wall clock)", _by_gpu, raw))
    return [{"part": name, "ms": _cpu_ms(part, items), "images": len(items)} for name, part, items in parts]


def small_rows(folder: Path, num_images: int) -> list[dict[str, Any]]:
    """Images per second of small images by source, in this process."""
    geometry, rows = Geometry(None, SMALL_PX), []
    for source in SOURCES:
        path = write_small(folder / source, source, num_images)
        rates = [_rate(lambda s=source, p=path: _ours(s, p, num_images, 0, geometry)) for _ in range(ROUNDS)]
        rows.append({"source": source, "images": num_images, "images/s": float(np.median(rates))})
    return rows


def index_rows(folder: Path, num_files: int) -> list[dict[str, Any]]:
    """Seconds to list images and to check that they are unchanged, by source."""
    rows = []
    for source in SOURCES:
        path = write_small(folder / source, source, num_files)
        started = time.perf_counter()
        num_rows = list_images(source, str(path), None, 0).num_rows
        listed = time.perf_counter()
        listing_stamp(source, str(path))
        again = time.perf_counter() - listed
        rows.append({"source": source, "images": num_rows, "list s": listed - started, "re-check s": again})
    return rows


def _ours(source: str, path: Path, num_images: int, num_workers: int, geometry: Geometry) -> Iterator[int]:
    index = list_images(source, str(path), None, 0)
    times = -(-num_images // index.num_rows)
    repeated = pa.concat_tables([index] * times).slice(0, num_images)
    for batch in image_batches(repeated, source, str(path), geometry, 0, BATCH_SIZE, num_workers):
        assert not batch.bad
        yield len(batch.image_id)


def _image_folder(photos: Path, num_photos: int, num_workers: int) -> Iterator[int]:
    images = ImageFolder(str(photos), Compose([Resize(256), CenterCrop(224), ToTensor()]))
    times = -(-num_photos // len(images))
    loader = DataLoader(ConcatDataset([images] * times), BATCH_SIZE, num_workers=num_workers)
    num_read = 0
    for batch, _ in loader:
        yield min(len(batch), num_photos - num_read)
        num_read += len(batch)
        if num_read >= num_photos:
            return


def _rate(read: Callable[[], Iterator[int]]) -> float:
    """Images per second after the first batch, once processes have started and files are listed."""
    sizes = read()
    next(sizes)
    started = time.perf_counter()
    return sum(sizes) / (time.perf_counter() - started)


def _cpu_ms(part: Callable[[Any], Any], items: Sequence[Any]) -> float:
    clock = time.perf_counter if part is _by_gpu else time.process_time
    best = float("inf")
    for _ in range(ROUNDS):
        started = clock()
        for item in items:
            part(item)
        best = min(best, clock() - started)
    return 1000 * best / len(items)


def _decode_with_pillow(raw: bytes) -> Image.Image:
    return Image.open(io.BytesIO(raw)).convert("RGB")


def _by_gpu(raw: bytes) -> None:
    decode_jpeg(_bytes(raw), ImageReadMode.RGB, device="cuda")
    torch.cuda.synchronize()


def _bytes(raw: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--photos", type=Path, help="folder of JPEGs with one subfolder per class (default: generated)"
    )
    parser.add_argument(
        "--num-photos", type=int, default=2000, help="photos to read; repeated if there are fewer"
    )
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 2], help="numbers of worker processes; 0: none"
    )
    parser.add_argument("--num-small", type=int, default=20_000, help="small images to read")
    parser.add_argument("--num-files", type=int, default=20_000, help="images in the index")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
