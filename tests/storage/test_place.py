"""Paths are told apart from URLs; one that cannot be used gives one clear line."""

import sys
from pathlib import Path

import fsspec
import pytest

from atlas_pipeline.engine.location import content_of, location_of, put, refuse_unreachable, states_in
from atlas_pipeline.errors import ConfigError, ResourceError


def test_a_path_stays_a_path(tmp_path):
    assert location_of("data") == Path("data")
    assert location_of("~/atlas") == Path.home() / "atlas"
    assert location_of(tmp_path) is tmp_path
    assert location_of(f"file://{tmp_path}") == tmp_path
    assert isinstance(location_of(f"file://{tmp_path}"), Path)


def test_a_url_is_none():
    place = location_of("memory://bucket/work") / "cache"
    assert not isinstance(place, Path)
    assert str(place) == "memory://bucket/work/cache"


def test_objects_are_listed_with_their_sizes():
    folder = location_of("memory://bucket/listed")
    assert states_in(folder) == {}
    put(folder / "a", b"four")
    put(folder / "below" / "b", b"")
    assert {name: state.num_bytes for name, state in states_in(folder).items()} == {"a": 4}
    assert content_of(folder / "a") == b"four"


def test_a_protocol_that_nobody_speaks():
    with pytest.raises(ConfigError, match=r"no file system is called s4://; give a path, or e.g. s3://"):
        location_of("s4://bucket/work")


def test_s3_without_its_package(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "s3fs"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(ResourceError, match=r"'s3://a/b' needs .* s3://; install it with: .*s3fs>="):
        location_of("s3://a/b")


def test_no_such_bucket(s3):
    with pytest.raises(ResourceError, match=r"s3://nowhere/work: there is no bucket 'nowhere'; create it"):
        refuse_unreachable(location_of("s3://nowhere/work"))


def test_not_permitted(bucket, monkeypatch):
    place = location_of(bucket)
    denied = PermissionError("Access Denied")
    monkeypatch.setattr(place.fs, "info", lambda _: (_ for _ in ()).throw(denied))
    with pytest.raises(ResourceError, match=r"cannot use s3://.*Access Denied; check address, credentials"):
        refuse_unreachable(place)


@pytest.mark.extended
def test_nobody_at_the_endpoint(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(ResourceError, match=r"cannot use s3://bucket/work: .*127.0.0.1:9.*; check address"):
        refuse_unreachable(location_of("s3://bucket/work"))
