"""Output does not end a run: encodings, readers that go away, narrow terminals."""

import io
import os

import pytest

from experiments.harness import output


def stream_to(descriptor, encoding="utf-8"):
    return output._output(
        io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding=encoding)
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_an_encoding_lacks_are_escaped(tmp_path, encoding):
    path = tmp_path / "output"
    stream = stream_to(os.open(path, os.O_WRONLY | os.O_CREAT), encoding)
    print("log-odds τ → \udcff ±", file=stream)
    assert path.read_text(encoding=encoding).startswith("log-odds \\u03c4 \\u2192 \\udcff ")


def test_without_a_reader_output_is_discarded():
    reader, writer = os.pipe()
    stream = stream_to(writer)
    print("first", file=stream)
    assert os.read(reader, 100) == b"first\n"
    os.close(reader)
    for _ in range(3):
        print("x" * 100_000, file=stream)
    stream.flush()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error():
    stream = stream_to(os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError, match="No space left"):
        print("line", file=stream)
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # for the flush at the end


def test_a_closed_descriptor_is_replaced():
    with output._output(None) as stream:
        print("nowhere", file=stream)


@pytest.mark.parametrize(("columns", "used"), [("5", "40"), ("80", "80"), ("99999999", "400")])
def test_the_width_is_limited(monkeypatch, columns, used):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(output, "_output", lambda stream: stream)
    output.prepare_output()
    assert os.environ["COLUMNS"] == used
