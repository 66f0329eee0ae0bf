"""Bank: finished icons of a network with the directions they were made for, from which other icons start.

``<workspace>/banks/<digest>/`` holds a Parquet file for each layer, and ``bank.json``, which is written last.
The digest covers the network, the layers and the bytes of the files, so a bank never changes, and two runs
that write the same icons write the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.engine.atomic_files import atomic_file, sync_folder
from atlas_pipeline.engine.fingerprint import canonical_json
from atlas_pipeline.engine.location import Location, content_of, disk_errors, location_of
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.tables.columns import column_matrix

BANKS_FOLDER = "banks"
BANK_FILE = "bank.json"
BANK_SCHEMA = "atlas-bank/1"
_DIGEST = re.compile(r"[0-9a-f]{16}")
_AGAIN = "make one with: atlas bank CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLayer:
    """The file of a layer's icons: its columns are direction, icon (PNG) and fidelity."""

    layer: str
    file: str
    digest: str
    num_icons: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """A bank as ``bank.json`` describes it. size_px: side of the icons. num_planes: 3, or 4 with opacity."""

    folder: Location
    digest: str
    model: Mapping[str, Any]
    """The network's identity, as in fingerprints."""
    size_px: int
    num_planes: int
    layers: tuple[BankLayer, ...]

    def of_layer(self, layer: str) -> BankLayer | None:
        """The file of a layer; None: the bank has no icons of it."""
        return next((found for found in self.layers if found.layer == layer), None)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedIcons:
    """Icons to start from: directions (icon, channel), and their PNG files in the same order."""

    directions: np.ndarray
    files: pa.ChunkedArray


def write_bank(
    workspace: str | Location,
    model: Mapping[str, Any],
    size_px: int,
    num_planes: int,
    icons: Mapping[str, pa.Table],
) -> Bank:
    """Write a bank, or complete one that a killed run left; files that are there already stay.

    Args:    model: the network's identity. icons: by layer, a table of direction (fixed-size list of
             float32), icon (PNG) and fidelity.
    Raises:  ResourceError: disk full, read-only or not permitted.
    """
    contents, layers = dict[str, bytes](), []
    for number, (layer, table) in enumerate(sorted(icons.items())):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        file, content = f"{number:05d}.parquet", buffer.getvalue()
        contents[file] = content
        layers.append(BankLayer(layer=layer, file=file, digest=_digest(content), num_icons=len(table)))
    body = {
        "schema": BANK_SCHEMA,
        "model": dict(model),
        "size_px": size_px,
        "num_planes": num_planes,
        "layers": [asdict(layer) for layer in layers],
    }
    folder = bank_folder(workspace, _digest_of(body))
    for file, content in contents.items():
        with disk_errors(folder):
            is_there = (folder / file).is_file() and content_of(folder / file) == content
        if not is_there:
            with atomic_file(folder / file) as stream:
                stream.write(content)
    with atomic_file(folder / BANK_FILE) as stream:
        sync_folder(folder)
        stream.write(json.dumps(body, indent=1, ensure_ascii=False).encode())
    return open_bank(folder)


def open_bank(folder: Location, digest: str | None = None) -> Bank:
    """Read ``bank.json``.

    Args:   digest: of the bank that is expected there; None: any.
    Raises: ConfigError: there is none, it is damaged, or it is of another version or digest. ResourceError:
            the place cannot be reached.
    """
    try:
        body = json.loads(content_of(folder / BANK_FILE))
        if body["schema"] != BANK_SCHEMA:
            raise ConfigError(
                f"the bank of icons {folder} has the format {body['schema']!r}, and this version reads "
                f"{BANK_SCHEMA!r}; {_AGAIN}"
            )
        bank = Bank(
            folder=folder,
            digest=_digest_of(body),
            model=dict(body["model"]),
            size_px=int(body["size_px"]),
            num_planes=int(body["num_planes"]),
            layers=tuple(BankLayer(**layer) for layer in body["layers"]),
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"there is no finished bank of icons at {folder}; {_AGAIN}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{BANK_FILE}: {error}") from error
    if digest not in (None, bank.digest):
        raise _damaged(folder, f"{BANK_FILE}: it has the digest {bank.digest}, not {digest}")
    return bank


def bank_folder(workspace: str | Location, name: str) -> Location:
    """The folder of a bank named by its digest, in the workspace, or by its folder; absolute."""
    folder = location_of(workspace) / BANKS_FOLDER / name if _DIGEST.fullmatch(name) else location_of(name)
    return folder.absolute()


def bank_digest(workspace: str | Location, name: str) -> str:
    """The digest of a bank, named as for `bank_folder`.

    A digest is taken as it is, without a look at the bank: a finished run needs its bank no more.

    Raises: ConfigError: as `open_bank`, for a folder.
    """
    return name if _DIGEST.fullmatch(name) else open_bank(bank_folder(workspace, name)).digest


@lru_cache(maxsize=2)
def read_bank(folder: Location, digest: str, layer: str) -> FinishedIcons | None:
    """The icons of a layer, read and verified once a process; None: the bank has none.

    Args:   digest: of the bank that is expected there.
    Raises: ConfigError: as `open_bank`, it is another bank, or a file is missing or damaged.
    """
    found = open_bank(folder, digest).of_layer(layer)
    if found is None:
        return None
    try:
        content = content_of(folder / found.file)
        if _digest(content) != found.digest:
            raise ValueError("its digest does not match")
        table = pq.read_table(io.BytesIO(content))
    except (FileNotFoundError, ValueError) as error:
        raise _damaged(folder, f"{found.file}: {error}") from error
    return FinishedIcons(column_matrix(table, "direction"), table["icon"])


def _damaged(folder: Location, what: str) -> ConfigError:
    return ConfigError(f"the bank of icons {folder} is damaged ({what}); {_AGAIN}")


def _digest_of(body: Mapping[str, Any]) -> str:
    return _digest(canonical_json(body).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
