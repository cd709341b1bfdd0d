"""Reads Loki pushes by decoders that know nothing of Ringmain.

Usage: loki_read.py protobuf|json FILE...

Each file is the body of one request. Prints what it holds in its order, a JSON object an entry: labels, time, line,
metadata.
"""

import gzip
import json
import re
import sys

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def push_request():
    """`logproto.PushRequest`, described field by field (github.com/grafana/loki/pkg/push/push.proto)."""
    file = descriptor_pb2.FileDescriptorProto(name="push.proto", package="logproto", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    kinds = {"string": field.TYPE_STRING, "int64": field.TYPE_INT64, "int32": field.TYPE_INT32}

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, (kind, title, repeated) in enumerate(fields, 1):
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in kinds:
                made.field.add(name=title, number=number, label=label, type=kinds[kind])
            else:
                made.field.add(name=title, number=number, label=label, type=field.TYPE_MESSAGE, type_name=".logproto." + kind)

    message("Timestamp", ("int64", "seconds", False), ("int32", "nanos", False))
    message("Pair", ("string", "name", False), ("string", "value", False))
    message("Entry", ("Timestamp", "timestamp", False), ("string", "line", False), ("Pair", "structuredMetadata", True))
    message("Stream", ("string", "labels", False), ("Entry", "entries", True))
    message("PushRequest", ("Stream", "streams", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("logproto.PushRequest"))


LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*(,|$)')
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def unquote(text):
    """As Go's strconv.Unquote reads what we write."""
    return re.sub(r"\\x([0-9a-f]{2})|\\(.)", lambda m: chr(int(m[1], 16)) if m[1] else ESCAPES[m[2]], text)


def selector(text):
    """The labels of `{app="x", env="y"}`."""
    assert text[0] == "{" and text[-1] == "}", text
    rest, labels = text[1:-1], {}
    while rest:
        found = LABEL.match(rest)
        assert found, f"no label at {rest!r} of {text!r}"
        assert found[1] not in labels, f"{found[1]} is twice in {text!r}"
        labels[found[1]] = unquote(found[2])
        rest = rest[found.end():]
    assert labels, "a stream without labels"
    return labels


def protobuf(body):
    plain = bytes(cramjam.snappy.decompress_raw(body))
    push = push_request().FromString(plain)
    assert push.SerializeToString() == plain, "there are fields of another message, or it is written in an odd way"
    for stream in push.streams:
        labels = selector(stream.labels)
        for entry in stream.entries:
            assert entry.HasField("timestamp") and 0 <= entry.timestamp.nanos < 1_000_000_000
            metadata = {pair.name: pair.value for pair in entry.structuredMetadata}
            assert len(metadata) == len(entry.structuredMetadata), "a name is twice"
            yield labels, entry.timestamp.seconds * 1_000_000_000 + entry.timestamp.nanos, entry.line, metadata


def from_json(body):
    for stream in json.loads(gzip.decompress(body))["streams"]:
        for time, line, *metadata in stream["values"]:
            assert isinstance(time, str) and stream["stream"]
            yield stream["stream"], int(time), line, metadata[0] if metadata else {}


def main():
    read = {"protobuf": protobuf, "json": from_json}[sys.argv[1]]
    for path in sys.argv[2:]:
        with open(path, "rb") as file:
            for labels, time, line, metadata in read(file.read()):
                print(json.dumps({"labels": labels, "time": time, "line": line, "metadata": metadata}))


main()
