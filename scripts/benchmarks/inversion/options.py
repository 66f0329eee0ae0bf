"""The command line of the inversion benchmark: argparse, because a bare GPU machine may lack click."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

STEP_ENGINES = "ours,lucent-cosine,lucent-cosine-frozen,captum-cosine"
RACE_ENGINES = "ours,lucent-cosine,lucent-power,captum-cosine,captum-power"


def parse(description: str | None, argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the options; `bench` is the chosen benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benches = parser.add_subparsers(dest="bench", required=True)
    step = benches.add_parser("step", help="time of an icon-step for each engine")
    _add_network(step)
    step.add_argument("--steps", type=int, default=8, help="steps to time (default 8)")
    _add_common(step, repeats=5)
    _add_engines(step, STEP_ENGINES)
    _add_race(benches.add_parser("race", help="fidelity over time on a trained network"))
    roofline = benches.add_parser("roofline", help="our engine against the limits of the device")
    _add_network(roofline)
    roofline.add_argument("--steps", type=int, default=32, help="steps to time (default 32)")
    roofline.add_argument("--arithmetics", default="tf32", help="e.g. float32,tf32,bfloat16")
    roofline.add_argument(
        "--matrix",
        type=int,
        help="side of the matrices that measure the ceilings (default: CPU 2048, GPU 8192)",
    )
    roofline.add_argument("--profile-steps", type=int, default=8, help="steps to profile (default 8)")
    _add_common(roofline, repeats=3)
    return parser.parse_args(argv)


def numbers(text: str) -> list[int]:
    """Parse "4,8" as [4, 8]."""
    return [int(part) for part in text.split(",")]


def _add_common(parser: argparse.ArgumentParser, repeats: int) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, help=f"cpu or cuda (default here: {device})")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's own choice)")
    parser.add_argument(
        "--repeats", type=int, default=repeats, help=f"repeats, for medians (default {repeats})"
    )
    parser.add_argument("--json", type=Path, help="write all results, with every repeat, to this file")


def _add_engines(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--engines", default=default, help=f"engines, ours first (default {default})")
    parser.add_argument(
        "--captum", type=Path, metavar="PATH", help="root of a checkout of Captum's optim branch"
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="torchvision", help="torchvision, python or demo")
    parser.add_argument("--name", default="googlenet")
    parser.add_argument(
        "--weights", default="random", help="random, a file, or 'own' for the weights of the source"
    )
    parser.add_argument("--layer", default="inception4c")
    parser.add_argument("--size-px", type=int, default=80)
    parser.add_argument("--batches", default="32", help="icons per batch, e.g. 8,32,128")


def _add_race(race: argparse.ArgumentParser) -> None:
    race.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML config: network, images, settings")
    race.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    race.add_argument("--layer", help="layer (default: the last one of the config)")
    race.add_argument("--num-images", type=int, default=2000, help="images that the directions come from")
    race.add_argument("--num-directions", type=int, default=32, help="directions, made in one batch")
    race.add_argument("--save-case", type=Path, metavar="FILE", help="save network and directions (.pt)")
    race.add_argument("--case", type=Path, metavar="FILE", help="use a case that --save-case wrote")
    race.add_argument(
        "--bank", type=Path, metavar="FOLDER", help="bank of icons that `ours-bank` starts from"
    )
    race.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="seconds to count; cpu: those of the process's threads, for a machine that is shared",
    )
    race.add_argument("--own-steps", default="4,8,12,16,24,32,64,96,512")
    race.add_argument("--peer-steps", default="32,128,512")
    race.add_argument("--sheet", type=Path, help="write a PNG contact sheet of every engine's longest run")
    race.add_argument(
        "--sheet-steps", type=int, help="number of steps shown on the sheet (default: the longest run)"
    )
    race.add_argument("--sheet-columns", type=int, default=16)
    _add_common(race, repeats=1)
    _add_engines(race, RACE_ENGINES)
