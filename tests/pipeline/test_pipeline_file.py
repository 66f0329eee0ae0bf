"""A user's own pipeline file: features that it may use, and messages for its mistakes."""

import sys

import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.runs.pipeline_file import steps_of

GOOD = """
from __future__ import annotations

from dataclasses import dataclass

from kept_beside import LAYER

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.stages.sampling import index, sample

@dataclass
class Kept:
    layer: str | None = LAYER

def pipeline(config):
    images = index.step(config)
    yield sample.steps(config, images)[Kept().layer]
"""


@pytest.fixture
def pipeline(tmp_path):
    """`pipeline(text)`: write a pipeline file; returns its path."""
    (tmp_path / "kept_beside.py").write_text("LAYER = '4'\n")

    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return str(path)

    return write


def test_dataclasses_and_what_lies_beside_the_file_are_found(small, pipeline):
    steps = steps_of(parse_config(small), pipeline(GOOD))
    assert [step.stage.name for step in steps] == ["index", "sample"]
    # Workers could not import a module of that name.
    assert "atlas_pipelines.mine" not in sys.modules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def pipeline(config:", "SyntaxError"),
        ("def pipeline(config): return None", "TypeError: 'NoneType' object is not iterable"),
        ("def pipeline(config): return [None]", "must yield steps, not NoneType"),
        (GOOD.replace("Kept().layer", "'nowhere'"), "KeyError: 'nowhere'"),
        ("steps = []", "has no function pipeline(config)"),
    ],
)
def test_a_pipeline_that_fails_is_one_line(small, atlas, pipeline, text, words):
    result = atlas("status", small, "--pipeline", pipeline(text))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: pipeline '")
    assert words in line


def test_what_a_pipeline_says_itself_stays_as_it_is(small, pipeline):
    text = GOOD.replace("    images = ", "    raise ImagesError('no such images')\n    images = ")
    with pytest.raises(Exception, match=r"^no such images$"):
        steps_of(parse_config(small), pipeline(text))


def test_a_pipeline_that_may_not_be_looked_for_is_told(small, atlas, may_not_look, tmp_path):
    may_not_look(tmp_path / "theirs")
    with pytest.raises(Exception, match="permission denied"):
        steps_of(parse_config(small), str(tmp_path / "theirs" / "mine.py"))
    with pytest.raises(ConfigError, match="does not exist"):
        steps_of(parse_config(small), str(tmp_path / "mine.py"))
