"""What the commands do with a finished run: figures for print, archives. No torch is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from atlas_pipeline.config import Config
from atlas_pipeline.errors import ConfigError, ResourceError
from atlas_pipeline.export import export_run
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.figure.saving import check_suffix, save_figure
from atlas_pipeline.reader.run import AtlasRun, open_run
from atlas_pipeline.run_folder import run_folder


def figure(config: Config, request: FigureRequest | SheetRequest, output: Path | None) -> list[Path]:
    """Draw a figure of a finished run; without ``output`` into `figures/` of its folder, as PDF.

    Returns: the files written, the figure first.
    Raises:  ConfigError: the run has no atlas yet; what it does not have; an unknown suffix.
             ResourceError: it cannot be written.
    """
    run = _opened(config)
    path = output or run_folder(config) / "figures" / f"{_default_name(request)}.pdf"
    check_suffix(path)
    _check_writable(path)
    return save_figure(run, request, path)


def export(config: Config, output: Path | None) -> tuple[Path, int]:
    """Pack a finished run into an archive; without ``output`` beside its folder.

    Returns: the archive, and the number of files in it.
    Raises:  ConfigError: the run has no atlas yet; the suffix is not .zip. ResourceError: as above.
    """
    folder = run_folder(config)
    path = output or folder.with_name(f"{folder.name}.zip")
    if path.suffix.lower() != ".zip":
        raise ConfigError(f"-o '{path}': its suffix '{path.suffix}' is not .zip")
    _opened(config)
    _check_writable(path)
    return path, export_run(folder, path)


def _opened(config: Config) -> AtlasRun:
    folder = run_folder(config)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"run '{config.name}' has no atlas yet ({folder}); make it with: atlas run")
    return open_run(folder)


def _default_name(request: FigureRequest | SheetRequest) -> str:
    if isinstance(request, SheetRequest):
        return f"sheet-{request.kind}"
    # A layer's name may hold what a file's may not.
    return re.sub(r'[/\\:*?"<>|]+', "-", f"{request.layer}-{request.view}")


def _check_writable(path: Path) -> None:
    """Refuse before the work what could not be written after it.

    Raises: ResourceError: a folder of that name, or a file where its folder should be.
    """
    if path.is_dir():
        raise ResourceError(f"cannot write {path}: it is a folder; give the name of a file in it")
    for folder in path.absolute().parents:
        if folder.exists() and not folder.is_dir():
            raise ResourceError(f"cannot write {path}: '{folder}' is a file; choose another place")
