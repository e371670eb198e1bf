"""Downloading a file so that it is there whole and right, or not at all."""

import hashlib
import sys
import time
from pathlib import Path

import requests
import urllib3

from sffa_jax.data.dataset import DataError
from sffa_jax.data.sources.registry import Resource

ROUNDS = 3
"""Times that all addresses are tried."""

PAUSE = 1.0
"""Seconds before the second round; each further pause is three times the one before."""

TIMEOUT = (10.0, 60.0)
"""Seconds without a connection, and without a further byte, that end a try."""

BLOCK = 1 << 18


class DownloadError(DataError):
    """No address delivered the file; the message names each and what went wrong there."""


class _Unusable(Exception):
    """This address will not deliver the file, however often it is asked."""


def fetch(resource: Resource, folder: Path) -> Path:
    """The verified file in `folder`, downloaded unless it is there.

    An interrupted download goes on where it stopped. The file takes its name only when its
    size and checksum are right, so that a file of that name is a whole one. The caller sees to it
    that only one process fetches into the folder.

    Raises:
      DownloadError: if no address delivers it.
      OSError: if the folder cannot be written.
    """
    target, part = folder / resource.file, folder / f"{resource.file}.part"
    if target.is_file():
        if _is_right(target, resource):
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
            # Of requests and of urllib3 underneath: both are met while a body is read. They come
            # before OSError, from which those of requests derive.
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reasons[url] = _in_short(error)
            else:
                if _is_right(part, resource):
                    part.replace(target)
                    return target
                reasons[url] = f"size or sha256 differs from {resource.sha256}"
                part.unlink(missing_ok=True)
    described = "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    raise DownloadError(f"{resource.file} could not be downloaded ({described})")


def _download(url: str, part: Path, resource: Resource) -> None:
    """Appends to `part` what it lacks of the file at `url`."""
    have = part.stat().st_size if part.is_file() else 0
    if have >= resource.size:  # whole, or of another file: the checksum will tell
        return
    # "identity": a server must not unpack the .gz on its way.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise requests.RequestException("the rest was refused; the file starts anew")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise _Unusable(f"{response.status_code} {response.reason}")
        response.raise_for_status()
        resumes = response.status_code == 206
        written = have if resumes else 0
        _report(url, written, resource.size)
        with part.open("ab" if resumes else "wb") as file:
            for block in response.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                written += len(block)
                if sys.stderr.isatty():
                    _report(url, written, resource.size)
                if written > resource.size:  # another file: never fill the disk with it
                    return


def _report(url: str, written: int, size: int) -> None:
    """Prints the progress on stderr; on a terminal, each line replaces the one before."""
    line = f"downloading {url}: {written / 1e6:.1f} of {size / 1e6:.1f} MB"
    if sys.stderr.isatty():
        end = "\n" if written >= size else ""
        print(f"\r{line}", end=end, file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def _is_right(path: Path, resource: Resource) -> bool:
    if path.stat().st_size != resource.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == resource.sha256


def _in_short(error: BaseException) -> str:
    """The innermost cause, which says what happened, without the wrapping of three libraries."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__
