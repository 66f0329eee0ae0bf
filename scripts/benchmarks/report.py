"""Output of benchmarks: a description of the machine, tables on the terminal, and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Row = Mapping[str, Any]


def machine(device: str) -> dict[str, Any]:
    """Describe the hardware and software, and the load before the measurement."""
    return {
        "device": device,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else [],
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows that share their keys, without lists and dicts, which only the JSON shows."""
    if not rows:
        return
    columns = [key for key, value in rows[0].items() if not isinstance(value, list | dict)]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(f"\n{title}")
        print(plain_table(columns, cells))
        return
    table = Table(*columns, title=title, title_justify="left")
    for row in cells:
        table.add_row(*row)
    Console(width=200).print(table)


def plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Format cells as padded columns, two spaces apart."""
    lines = [list(columns), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_json(path: Path | None, report: Mapping[str, Any]) -> None:
    """Write the whole report, if a path is given."""
    if path is not None:
        path.write_text(json.dumps(report, indent=1))
