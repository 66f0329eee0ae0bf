"""The folder of a run is a config; the server of its page answers this machine only."""

import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from atlas_pipeline.cli.main import main
from atlas_pipeline.config.loading import load_config
from atlas_pipeline.errors import ConfigError, ResourceError
from atlas_pipeline.runs.serving import forwarding, server_of

VALUES = {
    "name": "mine",
    "model": {"source": "demo"},
    "images": {"source": "generated"},
    "layers": ["mixed5"],
    "grid": {"sizes": [7]},
    "run": {"workspace": "data"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run's folder in a workspace that has moved since."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "elsewhere" / "runs" / "renamed"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(VALUES))
    (folder / "index.html").write_text("<p>page</p>")
    return folder


@pytest.mark.parametrize("as_file", [False, True])
def test_a_runs_folder_is_its_config_where_it_lies(folder, as_file):
    for path in (folder, Path("elsewhere/runs/renamed"), Path("elsewhere/runs/renamed/")):
        config = load_config(path / "config.yaml" if as_file else path, ["grid.min_count=3"])
        assert (config.name, config.grid.sizes, config.grid.min_count) == ("renamed", (7,), 3)
        assert Path(config.run.workspace).resolve() == folder.parents[1]
    # A path below the working folder stays short.
    assert config.run.workspace == "elsewhere"


def test_within_the_folder_it_is_a_dot(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert Path(load_config(".").run.workspace) == folder.parents[1]


def test_another_folder_is_refused(folder):
    for path in (folder.parent, folder.parents[1]):
        with pytest.raises(ConfigError, match="is a folder, and not that of a run"):
            load_config(path)
    # An unpacked archive is a run's folder, but in no workspace.
    unpacked = folder.parents[2] / "unpacked"
    unpacked.mkdir()
    (unpacked / "config.yaml").write_text(yaml.safe_dump(VALUES))
    with pytest.raises(ConfigError, match="is a folder, and not that of a run"):
        load_config(unpacked)
    # As a file it is a config like any other.
    assert load_config(unpacked / "config.yaml").run.workspace == "data"


def test_view_takes_the_folder(folder):
    shown = CliRunner().invoke(main, ["view", "elsewhere/runs/renamed", "--no-open"])
    assert shown.stdout.strip() == str(folder / "index.html")


def test_over_ssh_the_command_that_serves_is_named(folder, monkeypatch):
    import click

    opened = []
    monkeypatch.setattr(click, "launch", opened.append)
    monkeypatch.setenv("SSH_CONNECTION", "1")
    monkeypatch.delenv("DISPLAY", raising=False)
    shown = CliRunner().invoke(main, ["view", "elsewhere/runs/renamed"])
    assert "atlas view elsewhere/runs/renamed --serve" in shown.stderr
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    CliRunner().invoke(main, ["view", "elsewhere/runs/renamed"])
    assert opened == [str(folder / "index.html")]


@pytest.fixture
def server(folder):
    with server_of(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, path="/index.html", host=None):
    url = f"http://127.0.0.1:{server.server_port}{path}"
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request) as answer:
        return answer.read(), answer.headers


def test_the_page_is_served_on_loopback(server):
    assert server.server_address[0] == "127.0.0.1"
    body, headers = get(server)
    assert body == b"<p>page</p>"
    assert headers["Cache-Control"] == "no-cache"
    assert get(server, host=f"localhost:{server.server_port}")[0] == body
    assert f"-L {server.server_port}:127.0.0.1:{server.server_port} " in forwarding(server.server_port)


@pytest.mark.parametrize("path", ["/../../secret", "/%2e%2e/%2e%2e/secret"])
def test_only_the_runs_own_files_are_served(server, folder, path):
    (folder.parents[1] / "secret").write_text("x")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(server, path)


def test_a_page_of_another_site_gets_nothing(server):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(server, host="evil.example:80")


def test_a_port_that_is_taken_is_said(server, folder):
    with pytest.raises(ResourceError, match=rf"port {server.server_port} cannot be used .*--port"):
        server_of(folder, server.server_port)


def test_serving_needs_a_port_and_a_folder_here(folder):
    refused = CliRunner().invoke(main, ["view", "elsewhere/runs/renamed", "--serve", "--port", "99999"])
    assert refused.exit_code == 2
    assert "99999" in refused.stderr
