"""File formats, told by the first bytes, or by the name where a format has no signature."""

from __future__ import annotations

import os
import re

HEAD_BYTES = 512

# Files with these extensions count as images; one that is no image becomes a bad image when it is read.
IMAGE_EXTENSIONS = frozenset(
    "jpg jpeg jpe jfif png apng webp bmp dib gif tif tiff ppm pgm pbm pnm avif jp2 j2k jpx".split()  # noqa: SIM905
)
# Sensor data with a TIFF header: Pillow would read the small preview.
RAW_EXTENSIONS = frozenset(
    "dng nef nrw cr2 cr3 crw arw srf sr2 raf orf rw2 pef srw 3fr iiq raw rwl".split()  # noqa: SIM905
)
COMPANION_EXTENSIONS = frozenset(
    "txt text caption captions json jsonl ndjson csv tsv xml yaml yml toml ini cfg md rst html htm log "  # noqa: SIM905
    "cls label labels index lst md5 sha256 xmp".split()
)
# Sample fields known to WebDataset's own decoder.
FIELD_EXTENSIONS = COMPANION_EXTENSIONS | frozenset(
    "cls2 inx id count transcript npy npz pyd pickle pkl pth pt ten tb mp msg cbor".split()  # noqa: SIM905
)
COMPANION_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "readme", "license", "licence"})

# Extensions of files that a program is still writing, or keeps as old versions.
UNFINISHED_EXTENSIONS = frozenset({"part", "partial", "crdownload", "download", "tmp", "temp", "bak", "swp"})

READ = frozenset({"JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG 2000"})
ARCHIVES = frozenset({"zip archive", "gzip archive", "7z archive", "xz archive", "bzip2 archive",
                      "zstd archive", "tar archive", "Parquet file"})  # fmt: skip

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIRS", "camera raw"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DirectDraw"),
    (b"\0\0\x01\0", "icon"),
    (b"\x1aE\xdf\xa3", "video (Matroska or WebM)"),
    (b"FLV\x01", "video (FLV)"),
    (b"\0\0\x01\xba", "video (MPEG)"),
    (b"\0\0\x01\xb3", "video (MPEG)"),
    (b"PK\x03\x04", "zip archive"),
    (b"PK\x05\x06", "zip archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (b"\xfd7zXZ\0", "xz archive"),
    (b"BZh", "bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"PAR1", "Parquet file"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"SIMPLE  =", "FITS"),
    (b"version https://git-lfs", "Git LFS pointer (fetch it with: git lfs pull)"),
)
_PLAIN_BITMAP = re.compile(rb"P[1-6]\s+(#|\d)")
# Sizes of the header after the file header, by format version.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def format_of(head: bytes) -> str | None:
    """Name of the format of a file that begins with ``head`` (up to HEAD_BYTES); None if unknown.

    Formats in READ are decoded; the others are only named in messages.
    """
    for start, name in _SIGNATURES:
        if head.startswith(start):
            # CR2 has a valid TIFF header.
            return "camera raw" if name == "TIFF" and head[8:10] == b"CR" else name
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if _PLAIN_BITMAP.match(head):
        return "PPM"
    if head[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "video (AVI)"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso_media_format(head)
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[257:262] == b"ustar":
        return "tar archive"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "HTML page"
    return "SVG" if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in head) else None


def _iso_media_format(head: bytes) -> str:
    """The format by the major and compatible brands of an ISO media file."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if _HEIF_BRANDS.intersection(brands):
        return "HEIC"
    return "camera raw" if brands[0] == b"crx " else "video (MP4 or MOV)"


def extension_of(name: str) -> str:
    """A file's extension, in lower case and without the dot; '' if there is none."""
    return os.path.splitext(name)[1][1:].lower()


def why_left_out(name: str, head: bytes) -> str | None:
    """Why a file with an unknown extension is no image; None if it is one.

    Args: head: its first HEAD_BYTES bytes, or all of them.
    """
    extension = extension_of(name)
    if extension in RAW_EXTENSIONS:
        return "camera raw, which is not read"
    if extension in UNFINISHED_EXTENSIONS or name.endswith("~"):
        return "unfinished download or old copy, by its name"
    kind = format_of(head)
    if kind in READ:
        return None
    if kind in ARCHIVES:
        return f"{kind}, not unpacked"
    if kind:
        return f"{kind}, which is not read"
    if not head:
        return "empty and no image by name"
    return f"no image (.{extension})" if extension and len(extension) <= 12 else "no image"
