"""Is the program right and fast on this GPU? One command, ten minutes, no network access.

    python -m scripts.benchmarks.gpu_first_day                        # results in gpu_first_day/
    python -m scripts.benchmarks.gpu_first_day --device cpu --quick   # tries the script itself

First the CPU is compared with the GPU, stage by stage; then come speed against the card's own rates, and
memory. Each section has a time limit, and one that fails does not end the others. Images are generated; the
networks are GoogLeNet with RANDOM WEIGHTS (times do not depend on them) and the embedded demo network. The
sections "numbers", "rates", "inversion" and "memory" need torch and torchvision alone, the others the
package's other requirements. The exit code is 1 if a check fails or a section does not end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from scripts.benchmarks.gpu_first_day import correctness, speed
from scripts.benchmarks.gpu_first_day.section import Result, Section, Setup, run_section
from scripts.benchmarks.report import machine

# Ten minutes in all.
SECTIONS = (
    Section("numbers", 90, "torch", correctness.numbers),
    Section("layouts", 40, "the package", correctness.layouts),
    Section("whole run", 120, "the package", correctness.whole_run),
    Section("rates", 15, "torch", speed.rates),
    Section("sampling", 100, "the package", speed.sampling),
    Section("neighbours", 45, "the package", speed.neighbours),
    Section("layout", 45, "the package", speed.layout),
    Section("inversion", 110, "torch", speed.inversion),
    Section("memory", 35, "torch", speed.memory),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit code."""
    options = _parse(argv)
    setup = Setup(options.device, options.quick, options.network)
    about = machine(options.device)
    pages = [f"## GPU, first day\n\n{_machine_line(about)}\n"]
    results = []
    for section in SECTIONS:
        if options.sections and section.name not in options.sections:
            continue
        result = run_section(section, setup)
        results.append(result)
        pages.append(_page(result))
        print(pages[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu_first_day.md").write_text("\n".join(pages))
    report = {"machine": about, "sections": [_plain(result) for result in results]}
    (options.out / "gpu_first_day.json").write_text(json.dumps(report, indent=1))
    failed = [result.name for result in results if result.error or result.num_failed]
    print(f"written: {options.out}/gpu_first_day.md and .json; ", end="")
    print(f"NOT right or not finished: {', '.join(failed)}" if failed else "all checks hold")
    return 1 if failed else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--network", choices=("googlenet", "demo"), default="googlenet")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes; figures mean nothing")
    parser.add_argument(
        "--sections", nargs="+", choices=[section.name for section in SECTIONS], metavar="NAME"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu_first_day"), help="folder of the results")
    return parser.parse_args(argv)


def _machine_line(about: dict) -> str:
    return (
        f"{about['gpu'] or 'no GPU'}; {about['processor']}, {about['cores']} cores; "
        f"PyTorch {about['torch']}, CUDA {torch.version.cuda}; load before: {about['load_before']}"
    )


def _page(result: Result) -> str:
    ended = f": {result.error}" if result.error else ""
    heading = f"### {result.name} ({result.seconds:.0f} s){ended}\n"
    return "\n".join([heading, *(table.markdown() for table in result.tables)])


def _plain(result: Result) -> dict:
    return {
        "name": result.name,
        "seconds": result.seconds,
        "error": result.error,
        "tables": [{"title": table.title, "rows": table.rows} for table in result.tables],
    }


if __name__ == "__main__":
    raise SystemExit(main())
