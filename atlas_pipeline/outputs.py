"""What the commands do with a finished run: figures for print, archives. No torch is loaded."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_pipeline.config import Config
from atlas_pipeline.config_file import parse_config
from atlas_pipeline.engine.place import Place, refuse_unreachable
from atlas_pipeline.errors import ConfigError, ResourceError
from atlas_pipeline.export import export_run
from atlas_pipeline.figure.request import FigureRequest, SheetRequest
from atlas_pipeline.figure.saving import check_suffix, save_figure
from atlas_pipeline.reader.run import AtlasRun, open_run
from atlas_pipeline.run_folder import run_folder

# Sections of the config that change what an atlas is.
_OF_AN_ATLAS = ("seed", "model", "images", "sample", "project", "grid", "invert", "stitch")


def figure(config: Config, request: FigureRequest | SheetRequest, output: Place | None) -> list[Place]:
    """Draw a figure of a finished run; without ``output`` into `figures/` of its folder, as PDF.

    Returns: the files written, the figure first.
    Raises:  ConfigError: the run has no atlas yet, or was made with another config; what it does not have; an
             unknown suffix.
             ResourceError: it cannot be written.
    """
    run = _opened(config)
    path = output or run_folder(config) / "figures" / f"{_default_name(request)}.pdf"
    check_suffix(path)
    _check_writable(path)
    return save_figure(run, request, path)


def export(config: Config, output: Place | None) -> tuple[Place, int]:
    """Pack a finished run into an archive; without ``output`` beside its folder.

    Returns: the archive, and the number of files in it.
    Raises:  ConfigError: the run has no atlas yet, or was made with another config; the suffix is not .zip.
             ResourceError: as above.
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
    refuse_unreachable(folder)
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"run '{config.name}' has no atlas yet ({folder}); make it with: atlas run")
    run = open_run(folder)
    _check_current(config, run)
    return run


def _check_current(config: Config, run: AtlasRun) -> None:
    """Refuse to show for one config what was made with another.

    Raises: ConfigError.
    """
    try:
        made = parse_config(run.config)
    except ConfigError:
        # Of another version of this program, with other keys: its files say themselves what they are.
        return
    difference = _difference(_compared(made), _compared(config))
    if difference is not None:
        key, was, now = difference
        raise ConfigError(
            f"run '{config.name}' was made with {key}: {was}, not {now}; make it anew with: atlas run"
        )


def _compared(config: Config) -> dict[str, Any]:
    # Images are known by their content: the same ones may lie elsewhere by now. And which atlases there are
    # the folder itself says.
    kept = config.model_dump(mode="json", exclude={"images": {"path"}, "grid": {"sizes"}})
    return {section: kept[section] for section in _OF_AN_ATLAS}


def _difference(made: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first key whose values differ, and both values; None where there is none."""
    for key, now in asked.items():
        was = made[key]
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            if found := _difference(was, now):
                return f"{key}.{found[0]}", found[1], found[2]
        elif was != now:
            return key, json.dumps(was), json.dumps(now)
    return None


def _default_name(request: FigureRequest | SheetRequest) -> str:
    if isinstance(request, SheetRequest):
        return f"sheet-{request.kind}"
    # A layer's name may hold what a file's may not.
    return re.sub(r'[/\\:*?"<>|]+', "-", f"{request.layer}-{request.view}")


def _check_writable(path: Place) -> None:
    """Refuse before the work what could not be written after it.

    Raises: ResourceError: a folder of that name; nothing may be written where it would be.
    """
    refuse_unreachable(path)
    if path.is_dir():
        raise ResourceError(f"cannot write {path}: it is a folder; give the name of a file in it")
    if not isinstance(path, Path):
        return
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        # Tried, not asked: permissions are not all that can be in the way.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}: {error.strerror} ('{folder}'); choose another place"
        ) from error
