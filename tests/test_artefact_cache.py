"""A value is made once a process for each artefact's content, and only the latest values are kept."""

from dataclasses import dataclass

import pytest

from atlas_pipeline.tables.artefact_cache import once_per_artefact


@dataclass(eq=False)
class Stored:
    """The facts of an artefact that tell it from others."""

    fingerprint: str = "f"
    digest: str = "d"
    stage: str = "bin"


@pytest.fixture
def calls():
    return []


@pytest.fixture
def value_of(calls):
    @once_per_artefact(keep=2)
    def value(artefact, *arguments):
        calls.append((artefact.stage, artefact.fingerprint, artefact.digest, *arguments))
        return len(calls)

    return value


def test_another_object_of_the_same_content_takes_the_value(value_of, calls):
    assert [value_of(Stored()), value_of(Stored())] == [1, 1]
    assert len(calls) == 1


@pytest.mark.parametrize("other", [Stored(fingerprint="g"), Stored(digest="e"), Stored(stage="whiten")])
def test_another_content_gets_a_value_of_its_own(value_of, calls, other):
    assert [value_of(Stored()), value_of(other)] == [1, 2]


def test_other_arguments_get_a_value_of_their_own(value_of):
    assert [value_of(Stored(), "cpu"), value_of(Stored(), "cuda"), value_of(Stored(), "cpu")] == [1, 2, 1]


def test_only_the_latest_values_are_kept(value_of, calls):
    a, b, c = Stored("a"), Stored("b"), Stored("c")
    for artefact in (a, b, a, c, a):  # b is the one used longest ago when c comes
        value_of(artefact)
    assert len(calls) == 3
    value_of(b)
    assert len(calls) == 4


def test_an_error_is_not_kept():
    tries = []

    @once_per_artefact(keep=1)
    def value(artefact):
        tries.append(artefact)
        if len(tries) == 1:
            raise OSError("unreadable")
        return "read"

    with pytest.raises(OSError, match="unreadable"):
        value(Stored())
    assert value(Stored()) == "read"
