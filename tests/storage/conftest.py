"""A local S3 server on the loopback interface, which needs no account and no network."""

import logging
import uuid
from contextlib import contextmanager

import fsspec
import pytest
import yaml
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from atlas_pipeline.cli.main import main

ACCOUNT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def s3_server():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@contextmanager
def directed_to(server):
    """Direct s3:// to the local server, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**ACCOUNT, "AWS_ENDPOINT_URL": server}.items():
            environment.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def new_bucket():
    """URL of a workspace in a new bucket."""
    name = f"atlas-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}/team/work"


@pytest.fixture
def s3(s3_server):
    with directed_to(s3_server):
        yield


@pytest.fixture
def bucket(s3):
    return new_bucket()


@pytest.fixture(scope="module")
def run_in_bucket(s3_server, small_in, tmp_path_factory):
    """Config of a finished small run whose workspace is a bucket."""
    folder = tmp_path_factory.mktemp("bucket")
    config, path = small_in(folder), folder / "small.yaml"
    with directed_to(s3_server):
        config["run"]["workspace"] = new_bucket()
        path.write_text(yaml.safe_dump(config))
        result = CliRunner().invoke(main, ["run", str(path), "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return config
