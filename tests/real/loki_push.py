"""Pushes as Promtail and Fluent Bit shape them, by encoders that know nothing of Ringmain.

Usage: loki_push.py promtail|fluent_bit URL STREAMS BATCHES LINES [TENANT]

Prints what it sent, a JSON object an entry: labels, time, line, metadata. Ends with 1 at any answer but 204.
"""

import gzip
import json
import sys
import urllib.request

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

START = 1_700_000_000_123_456_789


def push_request():
    """`logproto.PushRequest`, described field by field (github.com/grafana/loki/pkg/push/push.proto)."""
    file = descriptor_pb2.FileDescriptorProto(name="push.proto", package="logproto", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    kinds = {"string": field.TYPE_STRING, "int64": field.TYPE_INT64, "int32": field.TYPE_INT32, "uint64": field.TYPE_UINT64}

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
    message("Entry", ("Timestamp", "timestamp", False), ("string", "line", False), ("Pair", "structuredMetadata", True), ("Pair", "parsed", True))
    message("Stream", ("string", "labels", False), ("Entry", "entries", True), ("uint64", "hash", False))
    message("PushRequest", ("Stream", "streams", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("logproto.PushRequest"))


def entries(stream, batch, lines):
    """The entries of one stream in one batch."""
    for n in range(batch * lines, (batch + 1) * lines):
        line = f'stream={stream} n={n} "quoted" back\\slash tab\t \u00e9\U0001f600 ' + "x" * (n % 200)
        metadata = {"trace_id": f"{stream}-{n}", "note": 'a "b"\n\u00e9'} if n % 3 == 0 else {}
        yield START + n * 1000 + stream, line, metadata


def labels_of(stream):
    return {"job": "test", "filename": f"/var/log/{stream}.log", "odd": f'q"{stream}\\\n\u00e9'}


def go_quote(text):
    """As Go's strconv.Quote writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def promtail(batch, streams, lines):
    """Protobuf in a snappy block, labels as Go writes them, several streams a batch."""
    push = push_request()()
    for stream in range(streams):
        ordered = sorted(labels_of(stream).items())
        to = push.streams.add(labels="{" + ", ".join(f"{name}={go_quote(value)}" for name, value in ordered) + "}", hash=stream)
        for time, line, metadata in entries(stream, batch, lines):
            entry = to.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(time, 1_000_000_000)
            for name, value in metadata.items():
                entry.structuredMetadata.add(name=name, value=value)
    body = bytes(cramjam.snappy.compress_raw(push.SerializeToString()))
    return body, {"Content-Type": "application/x-protobuf", "User-Agent": "promtail/2.9.4"}


def fluent_bit(batch, streams, lines):
    """JSON, every other batch in gzip; a stream for each entry's labels, as it makes them."""
    made = []
    for stream in range(streams):
        values = []
        for time, line, metadata in entries(stream, batch, lines):
            values.append([str(time), line, metadata] if metadata else [str(time), line])
        made.append({"stream": labels_of(stream), "values": values})
    # Odd batches escape everything that is not ASCII.
    body = json.dumps({"streams": made}, ensure_ascii=batch % 2 == 1).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Fluent-Bit"}
    if batch % 2 == 0:
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def main():
    shape, url, streams, batches, lines = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    for batch in range(batches):
        body, headers = {"promtail": promtail, "fluent_bit": fluent_bit}[shape](batch, streams, lines)
        if len(sys.argv) > 6:
            headers["X-Scope-OrgID"] = sys.argv[6]
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        # No proxy: it is on loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            if answer.status != 204:
                sys.exit(f"answered {answer.status}: {answer.read()!r}")
        for stream in range(streams):
            for time, line, metadata in entries(stream, batch, lines):
                print(json.dumps({"labels": labels_of(stream), "time": time, "line": line, "metadata": metadata}))


main()
