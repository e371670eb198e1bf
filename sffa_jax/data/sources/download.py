"""Download a file and verify it; a file that fails verification is never left under its name."""

import hashlib
import sys
import time
from pathlib import Path

import requests
import urllib3

from sffa_jax.data.dataset import DataError
from sffa_jax.data.sources.registry import Resource

ROUNDS = 3
"""Number of times that all addresses are tried."""

PAUSE = 1.0
"""Seconds before the second round; each further pause is three times as long."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next byte."""

BLOCK = 1 << 18


class DownloadError(DataError):
    """No address delivered the file; the message gives the reason for each address."""


class _Unusable(Exception):
    """The address does not have the file; trying again is useless."""


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
            # Reading a body raises errors of requests and of urllib3.
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reasons[url] = _root_cause(error)
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
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise requests.RequestException("range refused; the download starts again")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise _Unusable(f"{response.status_code} {response.reason}")
        response.raise_for_status()
        resumes = response.status_code == 206
        written = size if resumes else 0
        _report(url, written, resource.size)
        with part.open("ab" if resumes else "wb") as file:
            for block in response.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                written += len(block)
                if sys.stderr.isatty():
                    _report(url, written, resource.size)
                if written > resource.size:  # another file: do not fill the disk with it
                    return


def _report(url: str, written: int, size: int) -> None:
    """Print the progress to stderr; on a terminal, each line replaces the previous one."""
    line = f"downloading {url}: {written / 1e6:.1f} of {size / 1e6:.1f} MB"
    if sys.stderr.isatty():
        end = "\n" if written >= size else ""
        print(f"\r{line}", end=end, file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def _is_verified(path: Path, resource: Resource) -> bool:
    if path.stat().st_size != resource.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == resource.sha256


def _root_cause(error: BaseException) -> str:
    """Return the message of the innermost cause, which three libraries have wrapped."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__
