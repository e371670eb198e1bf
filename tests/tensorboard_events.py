"""Reads TensorBoard's event files."""

import struct

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c


def events(folder):
    """The events in a folder, each record's length and contents checked."""
    *emptied, file = sorted(folder.glob("events.out.tfevents.*"))
    assert [old.stat().st_size for old in emptied] in ([], [0])
    content, parsed = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        of_length, body = content[8:12], content[12 : 12 + length]
        of_body, content = content[12 + length : 16 + length], content[16 + length :]
        for part, crc in ((struct.pack("<Q", length), of_length), (body, of_body)):
            assert struct.unpack("<I", crc) == (masked_crc32c(part),)
        parsed.append(Event.FromString(body))
    return parsed


def curves(folder):
    """Steps and values of each tag, in the order of the file."""
    first, started, *others = events(folder)
    assert first.file_version == "brain.Event:2"
    assert (started.session_log.status, started.step) == (SessionLog.START, 0)
    by_tag = {}
    for event in others:
        for value in event.summary.value:
            steps, values = by_tag.setdefault(value.tag, ([], []))
            steps.append(event.step)
            values.append(value.simple_value)
    return by_tag
