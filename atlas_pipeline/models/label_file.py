"""Files of class names in their usual forms: lines, synsets, JSON, YAML, CSV, a Python dict. No torch."""

from __future__ import annotations

import ast
import csv
import io
import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.named_file import named_file

WORDNET_ID = re.compile(r"n\d{8}", re.ASCII)
# A line of the list that comes with InceptionV1's graph: ``n02119789 1 kit fox``.
SYNSET_AND_INDEX = re.compile(r"(n\d{8})\s+(\d+)\s+(.+)", re.ASCII)
# A line of ImageNet's own list, in class order: ``n01440764 tench, Tinca tinca``.
SYNSET = re.compile(r"(n\d{8})[\s,:]+(.+)", re.ASCII)
NUMBERED = re.compile(r"(\d+)[.)]?[\s,:]+(.+)", re.ASCII)
# Keys under which tools store the names: index -> name or a list, and name -> index.
NAMES_KEYS = ("id2label", "names", "class_names", "classes", "labels", "categories", "label_names")
INDEX_KEYS = ("label2id", "class_to_idx")
# Table columns, in order of preference.
NAME_COLUMNS = ("name", "label", "class_name", "class", "label_name", "display_name", "description", "names")
INDEX_COLUMNS = (
    "index",
    "idx",
    "class_id",
    "class_index",
    "label_id",
    "class_idx",
    "target",
    "id",
    "label",
    "class",
)
BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
NUM_NAMED = 3
FORMS = "give one class per line, or a mapping from index to name"


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Names by index, and WordNet ids where the file has them.

    may_have_gaps: some logits may lack a name, as in InceptionV1's list.
    """

    names: dict[int, str]
    wordnet_ids: dict[int, str] = field(default_factory=dict)
    may_have_gaps: bool = False


def read_label_file(file: str) -> ClassNames:
    """Read class names from a file. Its suffix decides on JSON, YAML, CSV or TSV, otherwise its text does.

    Raises: ModelError: the file is missing, is not UTF-8 (or UTF-16 with a byte order mark), or holds no
            names by index.
    """
    path = named_file(file, "model.labels")
    where = f"model.labels: file '{path}'"
    text = _read_text(path, where)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _from_table(text, "\t" if suffix == ".tsv" else ",", where)
    if suffix in (".yaml", ".yml"):
        return parse_names(_parsed(yaml.safe_load, text, where, "YAML"), where)
    if suffix == ".json":
        return parse_names(_parsed(_json, text, where, "JSON"), where)
    if (text[0], text[-1]) in (("{", "}"), ("[", "]")):
        for parse in (_json, ast.literal_eval):
            try:
                return parse_names(parse(text), where)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                continue
        raise ModelError(f"{where} is neither JSON nor a Python dict; {FORMS}")
    return _from_lines([line.strip() for line in text.splitlines()], where)


def parse_names(value: Any, where: str) -> ClassNames:
    """Class names from a list, or a mapping from index to name or name to index; wrapper keys are unpacked.

    Raises: ModelError: neither of these, a missing or repeated index, or a value that is no name.
    """
    if isinstance(value, Mapping):
        value = {str(key): item for key, item in value.items()}
        for key in (*NAMES_KEYS, *INDEX_KEYS):
            if isinstance(value.get(key), Mapping | list | tuple):
                return parse_names(value[key], f"{where}, {key}")
        return _from_mapping(value, where)
    if isinstance(value, str | bytes | set | frozenset) or not isinstance(value, Iterable):
        raise ModelError(f"{where} is {type(value).__name__}, which has no order; {FORMS}")
    rows = list(value)
    if rows and all(isinstance(row, Mapping) for row in rows):
        return _from_records(rows, where)
    return _from_pairs(list(enumerate(rows)), where)


def _from_mapping(value: Mapping[str, Any], where: str) -> ClassNames:
    if value and all(_index(key) is not None for key in value):
        return _from_pairs([(int(key), item) for key, item in value.items()], where)
    if value and all(_index(item) is not None for item in value.values()):
        return _from_pairs([(int(item), name) for name, item in value.items()], where)
    if value and all(WORDNET_ID.fullmatch(key) for key in value):
        return _from_pairs(list(enumerate(value.items())), where)
    odd = next((key for key in value if _index(key) is None), "")
    raise ModelError(f"{where} is a mapping with the key '{odd}'; {FORMS}")


def _from_records(rows: Sequence[Mapping[str, Any]], where: str) -> ClassNames:
    def are_indices(key: str) -> bool:
        return all(_index(row.get(key)) is not None for row in rows)

    index = next((key for key in INDEX_COLUMNS if are_indices(key)), None)
    columns = [key for key in NAME_COLUMNS if key != index and all(key in row for row in rows)]
    # Names may be numbers if no other column could hold names.
    name = next((key for key in columns if not are_indices(key)), columns[0] if columns else index)
    if name is None:
        raise ModelError(f"{where} has no column of names ({', '.join(map(str, rows[0]))}); call one 'name'")
    places = range(len(rows)) if index in (None, name) else [int(row[index]) for row in rows]
    return _from_pairs([(place, row[name]) for place, row in zip(places, rows, strict=True)], where)


def _from_pairs(pairs: Sequence[tuple[int, Any]], where: str) -> ClassNames:
    """Class names from pairs of index and name.

    The name may itself be a pair of WordNet id and name, or of index and name.
    """
    names: dict[int, str] = {}
    ids: dict[int, str] = {}
    is_numbered = all(
        isinstance(i, list | tuple) and len(i) == 2 and _index(i[0]) is not None for _, i in pairs
    )
    for index, item in [(int(item[0]), item[1]) for _, item in pairs] if is_numbered else pairs:
        if isinstance(item, list | tuple):
            if len(item) != 2 or not WORDNET_ID.fullmatch(str(item[0])):
                raise ModelError(f"{where}: class {index} is {list(item)!r}, which is no name; {FORMS}")
            ids[index], item = str(item[0]), item[1]
        if index in names:
            raise ModelError(f"{where} names class {index} twice: '{names[index]}' and '{item}'")
        if isinstance(item, bool):
            raise ModelError(f"{where}: class {index} reads as {item}, not as a name; put it in quotes")
        if item is None or isinstance(item, Mapping) or not str(item).strip():
            raise ModelError(f"{where}: class {index} has no name ({item!r}); {FORMS}")
        names[index] = str(item).strip()
    _check_complete(names, where)
    return ClassNames(names, ids)


def _check_complete(names: Mapping[int, str], where: str) -> None:
    if not names:
        raise ModelError(f"{where} names no class; {FORMS}")
    if len(names) == max(names) + 1:
        return
    missing = [i for i in range(len(names) + NUM_NAMED) if i < max(names) and i not in names]
    if missing == [0]:
        raise ModelError(
            f"{where} counts its {len(names)} classes from 1, and logits count from 0; number them from 0"
        )
    listed = ", ".join(map(str, missing[:NUM_NAMED])) + (", ..." if len(missing) > NUM_NAMED else "")
    raise ModelError(f"{where} names {len(names)} classes up to class {max(names)}, but not class {listed}")


def _from_lines(lines: Sequence[str], where: str) -> ClassNames:
    if "" in lines:
        raise ModelError(f"{where} has an empty line, line {lines.index('') + 1}; give one class per line")
    if found := _all_match(SYNSET_AND_INDEX, lines):
        entries = [(int(match[2]), match[1], match[3]) for match in found]
        names = {index: name for index, _, name in entries}
        if len(names) < len(entries):
            raise ModelError(
                f"{where} names a class twice: it has {len(entries)} lines for {len(names)} indices"
            )
        return ClassNames(names, {index: wordnet_id for index, wordnet_id, _ in entries}, may_have_gaps=True)
    if found := _all_match(SYNSET, lines):
        return _from_pairs([(index, match.groups()) for index, match in enumerate(found)], where)
    found = _all_match(NUMBERED, lines)
    numbers = [int(match[1]) for match in found]
    # A name may begin with a number ('3 stooges'). If all names do, and the numbers run without a gap, they
    # are indices.
    if len(found) > 1 and sorted(numbers) in (list(range(len(found))), list(range(1, len(found) + 1))):
        return _from_pairs([(int(match[1]), match[2]) for match in found], where)
    return ClassNames(dict(enumerate(lines)))


def _all_match(pattern: re.Pattern[str], lines: Sequence[str]) -> list[re.Match[str]]:
    found = [match for line in lines if (match := pattern.fullmatch(line))]
    return found if len(found) == len(lines) else []


def _from_table(text: str, delimiter: str, where: str) -> ClassNames:
    read = _parsed(lambda text: list(csv.reader(io.StringIO(text), delimiter=delimiter)), text, where, "CSV")
    rows = [[cell.strip() for cell in row] for row in read if any(row)]
    if len({len(row) for row in rows}) > 1:
        raise ModelError(f"{where} has rows of {len(rows[0])} columns and of others; quote names with commas")
    header = [cell.lower() for cell in rows[0]]
    if set(header) & {*NAME_COLUMNS, *INDEX_COLUMNS} and len(rows) > 1:
        return _from_records([dict(zip(header, row, strict=True)) for row in rows[1:]], where)
    if len(header) == 1:
        return _from_pairs([(index, row[0]) for index, row in enumerate(rows)], where)
    if len(header) == 2:
        return _from_pairs(list(enumerate(rows)), where)
    raise ModelError(f"{where} has {len(header)} columns without a header; give one with 'index' and 'name'")


def _read_text(path: Path, where: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{where} cannot be read ({error.strerror}); give one class per line") from None
    encoding = next((name for mark, name in BOMS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding).strip()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        # Any bytes are valid Latin-1, so a guess could be wrong without notice.
        raise ModelError(f"{where} is not UTF-8 text (line {line}); save it as UTF-8") from None
    if "\x00" in text:
        raise ModelError(f"{where} is not text, or is UTF-16 without its mark; save it as UTF-8")
    if not text:
        raise ModelError(f"{where} is empty; give one class per line")
    return text


def _parsed(parse: Any, text: str, where: str, form: str) -> Any:
    try:
        return parse(text)
    except (ValueError, csv.Error, yaml.YAMLError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{where} is not {form} ({reason}); {FORMS}") from None


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the pairs; JSON alone would silently keep the last value of a repeated key.

    Raises: ValueError: a repeated key.
    """
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"'{twice}' comes twice")
    return dict(pairs)


def _index(value: Any) -> int | None:
    """A class index, also from text; None for anything else."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\d+", value, re.ASCII) else None
    # NumPy integers have __index__ too.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    index = operator.index(value)
    return index if index >= 0 else None
