"""What is kept of the log outside the database: heads, signed checkpoints, and the check of their signatures.

Standard library only: it lies beside `verify.py`, which says how a checkpoint is written.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
CHECKPOINT_DOMAIN = b"audit-checkpoint-v1\0"


class BadFile(Exception):
    """A file cannot be read as what it should be."""


class Anchors:
    """What was kept outside: heads by seq, the newest checkpoint, and where one is missing before it."""

    def __init__(self, keys: Mapping[str, bytes] | None = None) -> None:
        self.heads: dict[int, str] = {}
        self.last: dict[str, Any] | None = None
        self.gaps: list[int] = []
        self.is_checked = keys is not None
        self._keys = keys or {}
        self._digest = GENESIS
        self._unchecked: tuple[str, bytes, str] | None = None
        self._seen: set[str] = set()

    def feed(self, line: str, place: str) -> None:
        """Take one line; raises BadFile naming the place."""
        try:
            entry = json.loads(line)
            if "checkpoint" in entry:
                return self._feed_checkpoint(line, entry, place)
            seq, hash_ = int(entry["seq"]), str(entry["hash"])
        except (ValueError, KeyError, TypeError):
            raise BadFile(f'{place}: expected {{"seq":N,"hash":"H"}} or a checkpoint') from None
        if self.is_checked:
            raise BadFile(f"{place}: is not signed")
        return self._add(seq, hash_, place)

    def _feed_checkpoint(self, line: str, entry: dict[str, Any], place: str) -> None:
        body = line.strip()[len('{"checkpoint":') : -len(f',"signature":"{entry["signature"]}"}}')]
        if checkpoint_line(body, entry["signature"]) != line.strip():
            raise BadFile(f"{place}: not in the form of a checkpoint")
        facts, digest = entry["checkpoint"], checkpoint_digest(body)
        size, previous, hash_ = int(facts["size"]), str(facts["previous"]), str(facts["hash"])
        if digest in self._seen:
            return
        if self.last is not None and facts["origin"] != self.last["origin"]:
            raise BadFile(f"{place}: a checkpoint of another log, {facts['origin']}")
        if previous != self._digest:
            self.finish()
            self.gaps.append(size)
        self._add(size, hash_, place)
        self._seen.add(digest)
        self._digest, self.last = digest, facts
        self._unchecked = (place, CHECKPOINT_DOMAIN + body.encode(), entry["signature"])

    def _add(self, seq: int, hash_: str, place: str) -> None:
        if self.heads.setdefault(seq, hash_) != hash_:
            raise BadFile(f"{place}: two different hashes for seq {seq}")

    def finish(self) -> None:
        """Check the signature of the last checkpoint of a run; the others hang on it by their digests."""
        if self._unchecked is None or self.last is None or not self.is_checked:
            return
        place, message, signature = self._unchecked
        key = self._keys.get(str(self.last["key"]))
        if key is None or not is_signed_by(key, message, signature):
            raise BadFile(f"{place}: the signature is not by a key that was given")


def checkpoint_digest(body: str) -> str:
    return hashlib.sha256(CHECKPOINT_DOMAIN + body.encode()).hexdigest()


def checkpoint_line(body: str, signature: str) -> str:
    return f'{{"checkpoint":{body},"signature":"{signature}"}}'


def read_anchors(
    path: str, key_path: str | None = None, *, keys: Mapping[str, bytes] | None = None
) -> Anchors:
    """Read a file, or the files of a folder in the order of their names; raises BadFile or OSError."""
    anchors = Anchors(keys if key_path is None else read_keys(key_path))
    place = Path(path)
    for file in sorted(place.glob("*.jsonl")) if place.is_dir() else [place]:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                anchors.feed(line, f"{file}:{number}")
    anchors.finish()
    return anchors


def read_keys(path: str) -> dict[str, bytes]:
    """Return the public keys of a file by their fingerprints."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split(), start=1):
        try:
            key = bytes.fromhex(line)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise BadFile(f"{path}:{number}: expected a public key of 64 hex digits")
        keys[key_fingerprint(key)] = key
    return keys


def key_fingerprint(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:16]


def anchor_texts(unanchored_since: int | None, anchors: Anchors) -> list[str]:
    """Say what vouches for the log from outside, and what does not."""
    since = unanchored_since
    texts = ["anchored to the end" if since is None else f"unanchored since seq {since}"]
    if anchors.last is not None:
        checked = "signature checked" if anchors.is_checked else "signature not checked: give --key"
        texts.append(f"last checkpoint: seq {anchors.last['size']} at {anchors.last['time']}, {checked}")
    texts += [f"a checkpoint is missing before the one at seq {seq}" for seq in anchors.gaps]
    return texts


# Ed25519, RFC 8032, 5.1. A point of -x² + y² = 1 + d·x²·y² mod p is (X, Y, Z, T): x = X/Z, y = Y/Z, T = xyZ.
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_Point = tuple[int, int, int, int]


def is_signed_by(public_key: bytes, message: bytes, signature: str) -> bool:
    """Whether the signature, 128 hex digits, is that of the message: S·B = R + H(R ‖ A ‖ M)·A."""
    try:
        signed = bytes.fromhex(signature)
    except ValueError:
        return False
    key, start = _decode_point(public_key), _decode_point(signed[:32])
    base = _decode_point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    factor = int.from_bytes(signed[32:], "little")
    if key is None or start is None or base is None or len(signed) != 64 or factor >= _ORDER:
        return False
    digest = hashlib.sha512(signed[:32] + public_key + message).digest()
    left = _multiply(factor, base)
    right = _add(start, _multiply(int.from_bytes(digest, "little") % _ORDER, key))
    return all((left[i] * right[2] - right[i] * left[2]) % _P == 0 for i in (0, 1))


def _decode_point(text: bytes) -> _Point | None:
    if len(text) != 32:
        return None
    number = int.from_bytes(text, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if y >= _P or (x * x - square) % _P or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else _P - x
    return (x, y, 1, x * y % _P)


def _add(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(factor: int, point: _Point) -> _Point:
    result: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            result = _add(result, point)
        point, factor = _add(point, point), factor >> 1
    return result
