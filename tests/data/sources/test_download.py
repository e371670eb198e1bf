"""Downloads from a server on this machine: whole, cut off, wrong, refused, without room."""

import hashlib

import pytest
from published_files import Server

from sffa_jax.data.sources import download
from sffa_jax.data.sources.download import DownloadError, fetch
from sffa_jax.data.sources.registry import PUBLISHED

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with Server({"file": CONTENT}) as server:
        yield server


def resource(*servers):
    first = servers[0].resources()[0]
    return first._replace(addresses=tuple(server.url for server in servers))


def test_a_download_is_kept(server, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert fetch(resource(server), folder).read_bytes() == CONTENT
    assert fetch(resource(server), folder) == folder / "file"
    assert server.log == [("file", 0)]
    assert capsys.readouterr().err == f"downloading {server.url}file: 0.0 of 0.0 MB\n"
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_an_interrupted_download_goes_on(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    fetch(resource(server), tmp_path)
    assert server.log == [("file", 1000)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_body_cut_off_goes_on(server, tmp_path):
    server.faults["file"] = ["cut"]
    fetch(resource(server), tmp_path)
    assert server.log == [("file", 0), ("file", len(CONTENT) // 2)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_cannot_start_in_the_middle(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    assert fetch(resource(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left", [b"x" * 1000, b"x" * len(CONTENT), b"x" * 99_999], ids=["start", "whole", "longer"]
)
def test_a_wrong_beginning_is_dropped(server, tmp_path, left):
    (tmp_path / "file.part").write_bytes(left)
    assert fetch(resource(server), tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT[:-1] + b"x")
    assert fetch(resource(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [503, 429, 416, "cut"])
def test_passing_faults_are_retried(server, tmp_path, fault):
    server.faults["file"] = [fault, fault]
    assert fetch(resource(server), tmp_path).read_bytes() == CONTENT
    assert len(server.log) == 3


def test_another_address_takes_over(server, tmp_path):
    with Server({"file": CONTENT[::-1]}) as wrong, Server({}) as empty:
        given = resource(server)._replace(addresses=(empty.url, wrong.url, server.url))
        assert fetch(given, tmp_path).read_bytes() == CONTENT
        assert len(empty.log) == len(wrong.log) == len(server.log) == 1


@pytest.mark.parametrize(
    "content",
    [CONTENT[::-1], CONTENT + b"x" * 9999, CONTENT[:-1], b""],
    ids=["other", "longer", "shorter", "empty"],
)
def test_a_wrong_checksum_leaves_nothing(server, tmp_path, content):
    wanted = resource(server)
    server.files["file"] = content
    with pytest.raises(DownloadError, match=f"file could not be downloaded .*{wanted.sha256}"):
        fetch(wanted, tmp_path)
    assert not (tmp_path / "file").exists()


def test_every_address_is_named(server, tmp_path):
    nobody = "http://127.0.0.1:9/"
    given = resource(server)._replace(addresses=(server.url, nobody), file="absent")
    with pytest.raises(DownloadError) as failure:
        fetch(given, tmp_path)
    assert f"{server.url}absent: 404" in str(failure.value)
    assert f"{nobody}absent: [Errno" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert server.log == [("absent", 0)]  # 404 is final, a refused connection is not


def test_no_place_to_write(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="File exists"):
        fetch(resource(server)._replace(file="other"), tmp_path / "file")


def test_the_catalog_names_real_checksums():
    for published in PUBLISHED.values():
        for entry in published.resources:
            assert len(bytes.fromhex(entry.sha256)) == hashlib.sha256().digest_size
            assert entry.size > 1000
            assert all(address.endswith("/") for address in entry.addresses)
