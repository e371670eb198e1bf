"""Download a file and verify it; a file that fails verification is never left under its name."""

import contextlib
import http.client
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from sffa_jax.data.dataset import DataError
from sffa_jax.data.sources.registry import Resource, file_sha256

ROUNDS = 3
"""Number of times that all addresses are tried."""

PAUSE = 1.0
"""Seconds before the second round; each further pause is three times as long."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next byte."""

ANSWER_SECONDS = 60.0
"""Seconds to wait for the complete header of an answer."""

WINDOW, SLOWEST = 60.0, 10_000
"""Length in seconds of the periods in which an address must deliver `SLOWEST` bytes per second."""

REDIRECTS = 5

BLOCK = 1 << 18

Result = TypeVar("Result")


class DownloadError(DataError):
    """No address delivered the file; the message gives the reason for each address."""


class _Unusable(Exception):
    """The address does not have the file; trying again is useless."""


class _Failed(Exception):
    """The address failed; trying again may help."""


def fetch(resource: Resource, folder: Path) -> Path:
    """Return the path of the verified file in `folder`; downloads it if it is missing.

    An interrupted download resumes where it stopped. The file gets its final name only after its
    size and checksum are verified. The caller must ensure that only one process at a time fetches
    into the folder.

    Raises:
      DownloadError: if no address delivers the file.
      OSError: if the folder cannot be written.
    """
    target, part = folder / resource.file, folder / f"{resource.file}.part"
    if target.is_file():
        if _is_verified(target, resource):
            return target
        target.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    reasons: dict[str, str] = {}
    usable = list(resource.addresses)
    for attempt in range(ROUNDS):
        if attempt and usable:
            time.sleep(PAUSE * 3 ** (attempt - 1))
        for address in tuple(usable):
            url = f"{address.rstrip('/')}/{resource.file}"
            try:
                _download(url, part, resource)
            except _Unusable as error:
                usable.remove(address)
                reasons[url] = str(error)
            except _Failed as error:
                reasons[url] = str(error)
            else:
                if _is_verified(part, resource):
                    part.replace(target)
                    return target
                reasons[url] = f"size or sha256 differs from {resource.sha256}"
                part.unlink(missing_ok=True)
    described = "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    raise DownloadError(f"{resource.file} could not be downloaded ({described})")


def _download(url: str, part: Path, resource: Resource) -> None:
    """Append the missing bytes of the file at `url` to `part`."""
    size = part.stat().st_size if part.is_file() else 0
    if size >= resource.size:  # complete, or another file: the checksum decides
        return
    # "identity": the server must not decompress the .gz.
    headers = {"Accept-Encoding": "identity", "Connection": "close"}
    headers |= {"Range": f"bytes={size}-"} if size else {}
    with (
        _Session() as session,
        contextlib.closing(_answer(session, url, headers)) as response,
    ):
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise _Failed("range refused; the download starts again")
        if response.status_code >= 400:
            temporary = response.status_code in (408, 429) or response.status_code >= 500
            kind = _Failed if temporary else _Unusable
            raise kind(f"{response.status_code} {response.reason}")
        resumes = response.status_code == 206
        written = size if resumes else 0
        _report(url, written, resource.size)
        with part.open("ab" if resumes else "wb") as file:
            for block in _blocks(response):
                file.write(block)
                written += len(block)
                if sys.stderr.isatty():
                    _report(url, written, resource.size)
                if written > resource.size:  # another file: do not fill the disk with it
                    return


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Convert any error of the network into `_Failed`; the disk's errors occur outside."""
    try:
        yield
    # requests and urllib3 pass on errors of sockets, of http.client and, for addresses in
    # redirects that are not valid, ValueError.
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        raise _Failed(_root_cause(error)) from None


class _Session(requests.Session):
    """Follows no redirects: requests reads the body of a redirect to its end, whatever its size."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


def _answer(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Return the answer of an address, without its body; follows redirects."""
    deadline = time.monotonic() + ANSWER_SECONDS
    for _ in range(REDIRECTS + 1):
        get = partial(session.get, url, headers=headers, stream=True, timeout=TIMEOUT)
        with _network():
            response = _within(deadline - time.monotonic(), get)
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["Location"])
            if urlsplit(url).scheme not in ("http", "https"):
                raise ValueError(f"redirect to {url[:100]!r}")
    raise _Failed(f"more than {REDIRECTS} redirects")


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return `call()`; abandon it after some seconds, as a header may come byte by byte."""
    results: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=max(seconds, 0))
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, without undoing its compression."""
    began, received = time.monotonic(), 0
    while True:
        with _network():
            # `read` would wait until the block is full.
            block = response.raw.read1(BLOCK, decode_content=False)
            received += len(block)
            if (now := time.monotonic()) - began >= WINDOW:
                if received < SLOWEST * WINDOW:
                    raise TimeoutError(f"slower than {SLOWEST} bytes per second")
                began, received = now, 0
        if not block:
            return
        yield block


def _report(url: str, written: int, size: int) -> None:
    """Print the progress to stderr; on a terminal, each line replaces the previous one."""
    line = f"downloading {url}: {written / 1e6:.1f} of {size / 1e6:.1f} MB"
    if sys.stderr.isatty():
        end = "\n" if written >= size else ""
        print(f"\r{line}", end=end, file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def _is_verified(path: Path, resource: Resource) -> bool:
    return path.stat().st_size == resource.size and file_sha256(path) == resource.sha256


def _root_cause(error: BaseException) -> str:
    """Return the first line of the innermost cause, which three libraries have wrapped."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]
