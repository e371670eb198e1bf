"""Mirrors that answer anything: the file arrives whole from another address, or one line says why
not."""

import hashlib

import pytest
from published_files import Server

from sffa_jax.data.sources import download
from sffa_jax.data.sources.download import DownloadError, fetch
from soak.campaign import campaign

pytestmark = pytest.mark.slow
CONTENT = bytes(range(256)) * 400
FAULTS = (404, 416, 429, 500, 503, "cut", "drip", "drip header", b"", b"220 mail\r\n", "nonsense")
FAULTS += (None,)


def nonsense(rng):
    """An answer made of parts of right ones and random bytes."""
    parts = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ",
        b"HTTP/1.1 206 Partial Content\r\n",
        b"Content-Length: 999999999999999999999\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"fffffffff\r\n",
        b"http://[::1",
        b"file:///etc/passwd\r\n\r\n",
        rng.bytes(30),
        CONTENT[:1000],
    ]
    return b"".join(parts[i] for i in rng.integers(len(parts), size=rng.integers(1, 8)))


def test_hostile_mirrors(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(download, "TIMEOUT", (0.5, 0.5))
    monkeypatch.setattr(download, "WINDOW", 0.5)

    def attempt(rng, number):
        with Server({"file": CONTENT}) as one, Server({"file": CONTENT}) as two:
            for server in (one, two):
                chosen = [FAULTS[i] for i in rng.integers(len(FAULTS), size=30)]
                server.faults["file"] = [nonsense(rng) if f == "nonsense" else f for f in chosen]
                server.ranges = bool(rng.integers(2))
                if rng.random() < 0.2:
                    server.files["file"] = rng.bytes(int(rng.integers(len(CONTENT) * 2)))
            digest = hashlib.sha256(CONTENT).hexdigest()
            wanted = one.resources()[0]._replace(
                size=len(CONTENT), sha256=digest, addresses=(one.url, two.url)
            )
            folder = tmp_path / str(number)
            try:
                path = fetch(wanted, folder)
            except DownloadError as error:
                message = str(error)
            else:
                message = ""
            if message:
                assert "\n" not in message, message
                assert not (folder / "file").exists()
                return "refused"
            assert path.read_bytes() == CONTENT
            return "complete"

    campaign("mirrors", 40, attempt, seconds=60)
