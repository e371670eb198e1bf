"""Small data sets in the published formats, byte by byte, and a server to download them from."""

import contextlib
import gzip
import hashlib
import io
import struct
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from sffa_jax.data.sources.registry import PUBLISHED, Resource


def idx_bytes(array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_files(train_images, train_labels, test_images, test_labels, zipped=True):
    """The four files of an MNIST-like set."""
    files = {}
    for prefix, images, labels in (
        ("train", train_images, train_labels),
        ("t10k", test_images, test_labels),
    ):
        files[f"{prefix}-images-idx3-ubyte"] = idx_bytes(images)
        files[f"{prefix}-labels-idx1-ubyte"] = idx_bytes(np.array(labels, np.uint8))
    return {f"{k}.gz": gzip.compress(v) for k, v in files.items()} if zipped else files


def emnist_files(train_images, train_labels, test_images, test_labels):
    """The letters' four files: columns first, labels from 1; arguments are upright, from 0."""
    files = {}
    for split, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        stored = np.ascontiguousarray(images.transpose(0, 2, 1))
        files[f"emnist-letters-{split}-images-idx3-ubyte"] = idx_bytes(stored)
        files[f"emnist-letters-{split}-labels-idx1-ubyte"] = idx_bytes(
            np.array(labels, np.uint8) + np.uint8(1)
        )
    return files


def emnist_zip(files):
    """`gzip.zip` as published: a folder of gzipped files, other splits among them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gzip/emnist-digits-mapping.txt", "0 48\n")
        for stem, data in files.items():
            archive.writestr(f"gzip/{stem}.gz", gzip.compress(data))
    return content.getvalue()


def cifar_rows(images):
    """Images [n, 32, 32, RGB] as rows: all of red, then green, then blue."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def cifar_binary(images, labels):
    return b"".join(
        bytes([label]) + row.tobytes()
        for label, row in zip(labels, cifar_rows(images), strict=True)
    )


def short(text):
    return b"U" + bytes([len(text)]) + text


def cifar_pickle(images, labels):
    """A batch as Python 2's cPickle wrote it in 2009: protocol 2, byte strings."""
    rows = cifar_rows(images)
    count, width = struct.pack("<H", len(rows)), struct.pack("<H", rows.shape[1])
    return b"".join(
        [
            b"\x80\x02}q\x01(" + short(b"batch_label") + b"q\x02" + short(b"training batch 1 of 5"),
            b"q\x03" + short(b"labels") + b"q\x04]q\x05(",
            *(b"K" + bytes([label]) for label in labels),
            b"e" + short(b"data") + b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07",
            b"cnumpy\nndarray\nq\x08K\x00\x85" + short(b"b") + b"\x87Rq\t(K\x01M" + count,
            b"M" + width + b"\x86cnumpy\ndtype\nq\n" + short(b"u1") + b"K\x00K\x01\x87Rq\x0b(K\x03",
            short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
            struct.pack("<I", rows.size) + rows.tobytes() + b"tb",
            short(b"filenames") + b"q\x0c]q\r(",
            *(
                short(b"image_%06d.png" % i) + b"r" + struct.pack("<I", 14 + i)
                for i in range(len(rows))
            ),
            b"eu.",
        ]
    )


def cifar_files(train_images, train_labels, test_images, test_labels, form="binary"):
    """The six batches of either form, by path in the archive."""
    write, suffix = (cifar_binary, ".bin") if form == "binary" else (cifar_pickle, "")
    folder = "cifar-10-batches-bin" if form == "binary" else "cifar-10-batches-py"
    parts = zip(np.split(train_images, 5), np.split(np.array(train_labels), 5), strict=True)
    files = {
        f"{folder}/data_batch_{i}{suffix}": write(images, labels.tolist())
        for i, (images, labels) in enumerate(parts, 1)
    }
    return files | {f"{folder}/test_batch{suffix}": write(test_images, test_labels)}


def tar_bytes(files, mode="w:gz"):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def write_files(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def drip(file, content):
    """Sends a byte at a time until the reader has enough."""
    with contextlib.suppress(OSError):
        for i in range(len(content)):
            file.write(content[i : i + 1])
            file.flush()
            time.sleep(0.02)


class Server:
    """Serves files over HTTP on this machine.

    Attributes:
      url: address of the folder.
      files: content by name.
      log: (name, first byte asked for) of each request.
      faults: by name, what to do to the next requests: a status number; "cut" to break off in
        the middle of the body; "drip" or "drip header" to send byte by byte; or other bytes,
        the whole answer.
      ranges: whether it can start in the middle.
    """

    def __init__(self, files):
        self.files, self.log, self.faults, self.ranges = dict(files), [], {}, True
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                owner.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def answer(self, request):
        name = request.path.lstrip("/")
        asked = request.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        self.log.append((name, begin))
        fault = self.faults[name].pop(0) if self.faults.get(name) else None
        content = self.files.get(name)
        if isinstance(fault, bytes):
            request.wfile.write(fault)
            return
        if fault == "drip header":
            drip(request.wfile, b"HTTP/1.1 200 OK\r\n" + b"X-Header: 1\r\n" * 80)
            return
        if content is None or isinstance(fault, int):
            request.send_error(fault or 404)
            return
        request.send_response(206 if begin else 200)
        body = content[begin:]
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if fault == "drip":
            drip(request.wfile, body)
            return
        request.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def resources(self):
        """What a catalog says of these files."""
        return tuple(
            Resource(name, len(content), hashlib.sha256(content).hexdigest(), (self.url,))
            for name, content in self.files.items()
        )

    def published(self, name, image_shape):
        """The catalog's entry of a set, with these files in place of the published ones."""
        return replace(PUBLISHED[name], image_shape=image_shape, resources=self.resources())


def damage(content, rng):
    """A few random changes: bytes set, a stretch removed, doubled, zeroed or filled with ones."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if not content:
            break
        # Half of the changes fall where headers are.
        limit = len(content) if rng.random() < 0.5 else min(len(content), 600)
        begin = int(rng.integers(limit))
        end = begin + int(rng.integers(1, 20))
        change = rng.integers(6)
        if change == 0:
            content[begin] = int(rng.integers(256))
        elif change == 1:
            content[begin] ^= 1 << int(rng.integers(8))
        elif change == 2:
            del content[begin:end]
        elif change == 3:
            content[begin:begin] = content[begin:end]
        elif change == 4:
            content[begin:end] = rng.choice([b"\0", b"\xff"]) * (end - begin)
        else:
            del content[begin:]
    return bytes(content)
