"""The work of the commands on a finished run: figures for print, archives. This module never loads torch."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Store
from atlas_pipeline.engine.location import Location, disk_errors, refuse_unreachable
from atlas_pipeline.errors import ConfigError, ResourceError
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.figure.saving import check_suffix, save_figure
from atlas_pipeline.publish.export import export_run
from atlas_pipeline.publish.run_folder import FIGURES_FOLDER, folder_lock, run_folder
from atlas_pipeline.publish.run_record import read_record
from atlas_pipeline.publish.staleness import refuse_stale_archive, refuse_stale_figure
from atlas_pipeline.reader import CONFIG_FILE
from atlas_pipeline.reader.run import AtlasRun, open_run


def figure(config: Config, request: FigureRequest | SheetRequest, output: Location | None) -> list[Location]:
    """Draw a figure of a finished run.

    Args:    output: the file to write; None: a PDF in `figures/` of the run's folder.
    Returns: the files written, the figure first.
    Raises:  ConfigError: the run has no atlas yet, was made with another config, or lacks what the figure
             shows; the suffix is unknown.
             ResourceError: the figure cannot be written.
    """
    path = output or run_folder(config) / FIGURES_FOLDER / f"{_default_name(request)}.pdf"
    check_suffix(path)
    with _opened(config) as run:
        refuse_stale_figure(config, run, request)
        _check_writable(path)
        return save_figure(run, request, path)


def export(config: Config, output: Location | None) -> tuple[Location, int]:
    """Pack a finished run into an archive.

    Args:    output: the file to write; None: a file beside the run's folder.
    Returns: the archive, and the number of files in it.
    Raises:  ConfigError: the run has no atlas yet, or was made with another config; the suffix is not .zip.
             ResourceError: the archive cannot be written.
    """
    folder = run_folder(config)
    path = output or folder.with_name(f"{folder.name}.zip")
    if path.suffix.lower() != ".zip":
        raise ConfigError(f"-o '{path}': its suffix '{path.suffix}' is not .zip")
    with _opened(config) as run:
        refuse_stale_archive(config, run)
        _check_writable(path)
        return path, export_run(folder, path)


@contextmanager
def _opened(config: Config) -> Iterator[AtlasRun]:
    """Open a finished run under a lock, so that no other process updates its folder meanwhile.

    Raises: ConfigError: it has no atlas yet, or its folder is unfinished. ResourceError: it cannot be read.
    """
    folder = run_folder(config)
    refuse_unreachable(folder)
    with disk_errors(folder):
        is_there = (folder / CONFIG_FILE).is_file()
    if not is_there:
        # Refuse before taking the lock, which would create files in an empty workspace.
        raise ConfigError(f"run '{config.name}' has no atlas yet ({folder}); make it with: atlas run")
    with folder_lock(Store(config.run.workspace), config.name):
        record = read_record(folder)
        if record is not None and record.unfinished:
            raise ConfigError(
                f"run '{config.name}' was being brought up to date, and that was cut off ({folder}); finish "
                "it with: atlas run"
            )
        yield open_run(folder)


def _default_name(request: FigureRequest | SheetRequest) -> str:
    if isinstance(request, SheetRequest):
        return f"sheet-{request.kind}"
    # A layer's name may have characters that a file name must not have.
    return re.sub(r'[/\\:*?"<>|]+', "-", f"{request.layer}-{request.view}")


def _check_writable(path: Location) -> None:
    """Refuse a path that cannot be written, before any work is done.

    Raises: ResourceError: the path is a folder, or its folder is not writable.
    """
    refuse_unreachable(path)
    with disk_errors(path):
        if path.is_dir():
            raise ResourceError(f"cannot write {path}: it is a folder; give the name of a file in it")
        if not isinstance(path, Path):
            return
        folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        # Try to write: permissions alone do not tell, e.g. on a full or read-only disk.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}: {error.strerror} ('{folder}'); choose another place"
        ) from error
