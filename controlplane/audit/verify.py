#!/usr/bin/env python3
"""Verify an exported audit log. Standard library only; runs without the application, beside anchors.py.

    python3 verify.py EXPORT.jsonl… [--checkpoints FILE-OR-FOLDER] [--key FILE] [--after SEQ] [--json]

Exit code 0: whole. 1: broken (the first bad seq is named). 2: usage, or a file cannot be read.

The export holds one line per event, in seq order, UTF-8, without whitespace outside strings:

    {"seq":N,"prev_hash":"P","hash":"H","body":B}

B is the text that was hashed, byte for byte: everything between `"body":` and the line's last `}`.

    H = SHA-256( "audit-v1" NUL N P B )      N in decimal, P and H as 64 lower-case hex digits

The first event has N = 1 and P = 64 zeros; each later P is the H before it. B begins with
`{"occurred_at":"…Z",` as the database set it, and never goes back in time.

Rows of high-rate tables are sealed: an event whose action is `audit.seal` carries, in `detail`, the
stream's name, the ranges of row ids, their count, the columns, and the digest

    D = SHA-256( "audit-seal-v1" NUL stream LF row LF row LF … )      rows in id order

An export made with the rows has them before the event that seals them, `{"stream":"S","row":R}`, where R
is the row's text, byte for byte: a JSON array of the columns' texts.

A log may be kept in several files, its closed segments; name them in order. Begin with a later one by
`--after` the last seq of the file before it.

A chain proves that nothing inside it was changed; it cannot show that its tail was cut off or that
all of it was rewritten. For that, give heads kept outside the database: --checkpoints names a file, or
a folder of `*.jsonl` files, with `{"seq":N,"hash":"H"}` (a head you wrote down) or a checkpoint a line:

    {"checkpoint":C,"signature":"S"}      C = {"hash":"H","key":"K","origin":…,"previous":"D","reason":…,
                                               "size":N,"time":…}
    D of a checkpoint = SHA-256( "audit-checkpoint-v1" NUL C )       of the first one's previous: 64 zeros
    S = the Ed25519 signature (RFC 8032) of the same bytes, 128 hex digits
    K = the first 16 hex digits of SHA-256( public key )

--key names a file of the public keys, 64 hex digits a line, that you were given when the log began.
Then the last of each unbroken run of checkpoints must be signed by one of them; the others are vouched
for by the digest that the next one holds. A missing checkpoint is reported. Events after the last
checkpoint are reported as unanchored.

To check one event by hand:  printf 'audit-v1\\0%s%s%s' N P B | sha256sum
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from controlplane.audit.anchors import GENESIS, Anchors, BadFile, anchor_texts, read_anchors
else:  # Run as a file: its neighbour is found beside it, and nothing else is.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from anchors import GENESIS, Anchors, BadFile, anchor_texts, read_anchors

EVENT_DOMAIN = b"audit-v1\0"
SEAL_DOMAIN = b"audit-seal-v1\0"
SEAL_ACTION = b'"action":"audit.seal",'
_TIME_START, _TIME_END = len(b'{"occurred_at":"'), len(b'{"occurred_at":"2026-01-01T00:00:00.000000Z')


class Broken(Exception):
    """The log is not whole; `seq` is the first bad event."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(f"seq {seq}: {why}")
        self.seq = seq
        self.why = why


def event_hash(seq: int, prev_hash: str, body: bytes) -> str:
    return hashlib.sha256(b"%b%d%b%b" % (EVENT_DOMAIN, seq, prev_hash.encode(), body)).hexdigest()


def event_line(seq: int, prev_hash: str, hash_: str, body: str) -> bytes:
    return f'{{"seq":{seq},"prev_hash":"{prev_hash}","hash":"{hash_}","body":{body}}}\n'.encode()


def row_line(stream: str, row: str) -> bytes:
    return f'{{"stream":{json.dumps(stream)},"row":{row}}}\n'.encode()


class Chain:
    """Checks events one by one; each `feed` raises Broken or moves the head."""

    def __init__(
        self,
        *,
        after_seq: int = 0,
        checkpoints: Mapping[int, str] | None = None,
        on_seal: Callable[[int, dict[str, Any]], None] | None = None,
        start_hash: str = "",
    ) -> None:
        """`start_hash` is the hash at `after_seq` where no checkpoint holds it; it anchors nothing."""
        self.seq = self.first_seq = after_seq
        self.hash = GENESIS
        self.checkpoints = dict(checkpoints or {})
        self._on_seal = on_seal
        self._time = b""
        anchor = self.checkpoints.get(after_seq, "")
        if after_seq:
            self.hash = anchor or start_hash
        self.anchored_seq = after_seq if anchor else 0

    def feed(self, line: bytes) -> None:
        """Check one event line, its line end included."""
        seq = self.seq + 1
        prev = self.hash or _prev_hash_of(line)
        start = b'{"seq":%d,"prev_hash":"%b","hash":"' % (seq, prev.encode())
        middle = len(start) + 64
        if not line.startswith(start) or line[middle : middle + 9] != b'","body":' or line[-2:] != b"}\n":
            raise Broken(seq, _explain(line, seq, prev))
        body = line[middle + 9 : -2]
        found = event_hash(seq, prev, body)
        if found.encode() != line[middle - 64 : middle]:
            raise Broken(seq, "the hash is not that of the body")
        if body[_TIME_START:_TIME_END] < self._time:
            raise Broken(seq, "the time is before that of the event before")
        if self.checkpoints.get(seq, found) != found:
            raise Broken(seq, "the hash is not that of the checkpoint: the log was rewritten")
        if seq in self.checkpoints:
            self.anchored_seq = seq
        self._time = body[_TIME_START:_TIME_END]
        if self._on_seal is not None and body.startswith(SEAL_ACTION, _TIME_END + 2):
            self._on_seal(seq, _seal_of(body, seq))
        self.seq, self.hash = seq, found

    def finish(self) -> None:
        """Raise Broken if a checkpoint lies beyond the end."""
        beyond = [seq for seq in self.checkpoints if seq > self.seq]
        if beyond:
            raise Broken(
                self.seq + 1, f"the log ends before the checkpoint at seq {min(beyond)}: its tail is missing"
            )

    @property
    def unanchored_since(self) -> int | None:
        """The first event that no checkpoint vouches for; None where all are anchored."""
        return None if 0 < self.seq <= self.anchored_seq else self.anchored_seq + 1


class SealedRows:
    """Digests the rows of an export and compares them with the seals that follow them."""

    def __init__(self) -> None:
        self._pending: dict[str, tuple[Any, int]] = {}
        self._bare_seal: int | None = None
        self.rows = 0

    def feed(self, line: bytes, next_seq: int) -> None:
        name, separator, rest = line[len(b'{"stream":') :].partition(b',"row":')
        if not separator or not rest.endswith(b"}\n"):
            raise Broken(next_seq, "a sealed row before it is malformed")
        stream = _json_text(name, next_seq)
        hasher, count = self._pending.get(stream) or (seal_hasher(stream), 0)
        hasher.update(rest[:-2] + b"\n")
        self._pending[stream] = (hasher, count + 1)
        self.rows += 1

    def check(self, seq: int, seal: dict[str, Any]) -> None:
        hasher, count = self._pending.pop(seal["stream"], (None, 0))
        if hasher is None:
            self._bare_seal = self._bare_seal or seq
        elif (count, hasher.hexdigest()) != (seal["count"], seal["digest"]):
            raise Broken(seq, f"the rows of {seal['stream']} are not those that were sealed")

    def finish(self, next_seq: int) -> None:
        if self._pending:
            raise Broken(next_seq, f"rows of {', '.join(sorted(self._pending))} have no seal")
        if self.rows and self._bare_seal:
            raise Broken(self._bare_seal, "the rows that it seals are missing")


def seal_hasher(stream: str) -> Any:
    return hashlib.sha256(SEAL_DOMAIN + stream.encode() + b"\n")


def verify_lines(
    lines: Iterable[bytes], *, after_seq: int = 0, checkpoints: Mapping[int, str] | None = None
) -> tuple[Chain, SealedRows]:
    """Check a whole export; raises Broken."""
    rows = SealedRows()
    chain = Chain(after_seq=after_seq, checkpoints=checkpoints, on_seal=rows.check)
    feed = chain.feed
    for line in lines:
        if line.startswith(b'{"stream":'):
            rows.feed(line, chain.seq + 1)
        else:
            feed(line)
    rows.finish(chain.seq + 1)
    chain.finish()
    return chain, rows


def _prev_hash_of(line: bytes) -> str:
    """The hash a partial log starts from, taken on trust where no checkpoint holds it."""
    try:
        return str(json.loads(line)["prev_hash"])
    except (ValueError, KeyError, TypeError):
        return GENESIS


def _explain(line: bytes, seq: int, prev: str) -> str:
    try:
        event = json.loads(line)
        found, found_prev = event["seq"], event["prev_hash"]
    except (ValueError, KeyError, TypeError):
        return "not an event line"
    if found != seq:
        return f"missing: found seq {found} in its place"
    if found_prev != prev:
        return "does not follow from the event before"
    return "not in the form of an export"


def _seal_of(body: bytes, seq: int) -> dict[str, Any]:
    try:
        detail = json.loads(body)["detail"]
        return {
            **detail,
            "stream": str(detail["stream"]),
            "count": int(detail["count"]),
            "digest": detail["digest"],
        }
    except (ValueError, KeyError, TypeError):
        raise Broken(seq, "the seal is malformed") from None


def _json_text(text: bytes, next_seq: int) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise Broken(next_seq, "a sealed row before it is malformed") from None


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("export", nargs="+", help="the log, JSON lines; its segments in order")
    parser.add_argument(
        "--checkpoints", metavar="PATH", help="a file, or a folder of files, of heads kept elsewhere"
    )
    parser.add_argument("--key", metavar="FILE", help="the public keys that must have signed them")
    parser.add_argument("--after", type=int, default=0, metavar="SEQ", help="the log begins after this seq")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    if options.key and not options.checkpoints:
        parser.error("--key is for --checkpoints")
    return options


def _lines_of(paths: Iterable[str]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as file:
            yield from file


def main(argv: list[str] | None = None) -> int:
    options = _parse(argv)
    try:
        anchors = read_anchors(options.checkpoints, options.key) if options.checkpoints else Anchors()
        lines = _lines_of(options.export)
        chain, rows = verify_lines(lines, after_seq=options.after, checkpoints=anchors.heads)
    except Broken as broken:
        _print(
            options.json,
            {"whole": False, "first_bad_seq": broken.seq, "why": broken.why},
            f"broken: {broken}",
        )
        return 1
    except (OSError, UnicodeDecodeError, BadFile) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    answer = {
        "whole": True,
        "events": chain.seq - chain.first_seq,
        "sealed_rows": rows.rows,
        "head": {"seq": chain.seq, "hash": chain.hash},
        "unanchored_since": chain.unanchored_since,
        "last_checkpoint": anchors.last,
        "signatures_checked": anchors.is_checked,
        "checkpoints_missing_before": anchors.gaps,
    }
    text = f"whole: {answer['events']} events, head {chain.seq} {chain.hash}"
    _print(options.json, answer, "\n".join([text, *anchor_texts(chain.unanchored_since, anchors)]))
    return 0


def _print(as_json: bool, answer: dict[str, Any], text: str) -> None:
    print(json.dumps(answer) if as_json else text)


if __name__ == "__main__":
    sys.exit(main())
