"""The command line of the inversion benchmark. Standard library alone: a bare GPU machine has little else."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

STEP_ENGINES = "ours,lucent-cosine,lucent-cosine-frozen,captum-cosine"
RACE_ENGINES = "ours,lucent-cosine,lucent-power,captum-cosine,captum-power"


def parse(description: str | None, argv: list[str] | None = None) -> argparse.Namespace:
    """The options; `bench` says which of the three."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benches = parser.add_subparsers(dest="bench", required=True)
    step = benches.add_parser("step", help="seconds of an icon-step, every engine")
    _add_network(step)
    step.add_argument("--steps", type=int, default=8, help="steps timed (default 8)")
    _add_common(step, repeats=5)
    _add_engines(step, STEP_ENGINES)
    _add_race(benches.add_parser("race", help="fidelity against time on a trained network"))
    roofline = benches.add_parser("roofline", help="our engine against the device's ceilings")
    _add_network(roofline)
    roofline.add_argument("--steps", type=int, default=32, help="steps timed (default 32)")
    roofline.add_argument("--arithmetics", default="tf32", help="e.g. float32,tf32,bfloat16")
    roofline.add_argument("--matrix", type=int, help="side of the ceiling's matrices (CPU 2048, GPU 8192)")
    roofline.add_argument("--profile-steps", type=int, default=8)
    _add_common(roofline, repeats=3)
    return parser.parse_args(argv)


def numbers(text: str) -> list[int]:
    """ "4,8" -> [4, 8]."""
    return [int(part) for part in text.split(",")]


def _add_common(parser: argparse.ArgumentParser, repeats: int) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, help=f"cpu or cuda (default here: {device})")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's own choice)")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"medians of so many ({repeats})")
    parser.add_argument("--json", type=Path, help="write everything, each repeat too")


def _add_engines(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--engines", default=default, help=f"ours first; default {default}")
    parser.add_argument("--captum", type=Path, metavar="PATH", help="root of a checkout of its optim branch")


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="torchvision", help="torchvision, python or demo")
    parser.add_argument("--name", default="googlenet")
    parser.add_argument("--weights", default="random", help="random, a file, or 'own': the source's")
    parser.add_argument("--layer", default="inception4c")
    parser.add_argument("--size-px", type=int, default=80)
    parser.add_argument("--batches", default="32", help="icons made together, e.g. 8,32,128")


def _add_race(race: argparse.ArgumentParser) -> None:
    race.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML config: network, images, settings")
    race.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    race.add_argument("--layer", help="default: the config's last")
    race.add_argument("--num-images", type=int, default=2000, help="images that directions come from")
    race.add_argument("--num-directions", type=int, default=32, help="made in one batch")
    race.add_argument("--save-case", type=Path, metavar="FILE", help="keep network and directions (.pt)")
    race.add_argument("--case", type=Path, metavar="FILE", help="race on what --save-case wrote")
    race.add_argument("--own-steps", default="4,8,12,16,24,32,64,96,512")
    race.add_argument("--peer-steps", default="32,128,512")
    race.add_argument("--sheet", type=Path, help="write a PNG contact sheet of every engine's longest run")
    race.add_argument("--sheet-steps", type=int, help="of runs of so many steps instead")
    race.add_argument("--sheet-columns", type=int, default=16)
    _add_common(race, repeats=1)
    _add_engines(race, RACE_ENGINES)
