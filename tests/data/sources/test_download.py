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


def redirect(location):
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"


NONSENSE = {
    "no scheme": redirect(b"//[/"),
    "file": redirect(b"file:///etc/passwd"),
    "port": redirect(b"http://localhost:99999999/"),
    "label": redirect(b"http://" + b"a" * 300 + b".invalid/"),
    "bytes": redirect(b"http://\xff\xfe\x00/"),
    "itself": redirect(b"file"),
    "no location": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "no http": b"220 ready for mail\r\n",
    "nothing": b"",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + b"x" * 50,
    "long header": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 500 + b"\r\n",
    "status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "slow header": "drip header",
    "slow body": "drip",
}


@pytest.mark.parametrize("fault", NONSENSE)
def test_nonsense_is_a_reason_to_try_the_next_address(server, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(download, "WINDOW", 0.2)
    with Server({"file": CONTENT}) as bad:
        bad.faults["file"] = [NONSENSE[fault]] * 20
        assert fetch(resource(bad, server), tmp_path).read_bytes() == CONTENT
        assert len(server.log) == 1


def test_redirects_are_followed(server, tmp_path):
    with Server({}) as other:
        other.faults["file"] = [redirect(server.url.encode() + b"file")]
        assert fetch(resource(server)._replace(addresses=(other.url,)), tmp_path).is_file()


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
