"""Harm of every kind, found by the verifier that runs alone; and it agrees with the application's."""

import random

import pytest

from controlplane.audit.verification import verify_database
from controlplane.audit.verify import Broken, event_hash, event_line, verify_lines
from tests.audit.anchoring import add_events, export_to
from tests.audit.tampering import as_owner
from tests.audit.test_verify import body, chain, run, split

LENGTH = 40


def first_bad(lines: list[bytes], **given: object) -> int | None:
    try:
        verify_lines(lines, **given)  # type: ignore[arg-type]
    except Broken as broken:
        return broken.seq
    return None


@pytest.fixture(scope="module")
def whole() -> bytes:
    return b"".join(chain([body(number) for number in range(LENGTH)]))


def first_harmed(before: bytes, after: bytes) -> int:
    place = next(n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)
    return before[:place].count(b"\n") + 1


@pytest.mark.parametrize("seed", range(200))
def test_two_hundred_corrupt_bytes_are_found_at_the_first(whole, seed):
    chance = random.Random(seed)
    harmed = bytearray(whole)
    for place in chance.sample(range(len(whole)), 200):
        harmed[place] ^= chance.randrange(1, 256)
    assert first_bad(split(bytes(harmed))) == first_harmed(whole, bytes(harmed))


@pytest.mark.parametrize("seed", range(50))
def test_two_swapped_rows_are_found_at_the_first(whole, seed):
    lines = whole.splitlines(keepends=True)
    one, two = sorted(random.Random(seed).sample(range(LENGTH), 2))
    lines[one], lines[two] = lines[two], lines[one]
    assert first_bad(lines) == one + 1


@pytest.mark.parametrize("seed", range(50))
def test_a_deleted_tail_and_a_rewritten_log_are_found_with_a_checkpoint(whole, seed):
    lines, chance = whole.splitlines(keepends=True), random.Random(seed)
    size = chance.randrange(2, LENGTH)
    head = {size: lines[size - 1].split(b'"hash":"')[1][:64].decode()}
    kept = chance.randrange(1, size)
    assert first_bad(lines[:kept]) is None
    assert first_bad(lines[:kept], checkpoints=head) == kept + 1
    changed = chain([body(number, changed=seed) for number in range(LENGTH)])
    assert first_bad(changed) is None
    assert first_bad(changed, checkpoints=head) == size


def harm(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    """One of what can happen to rows: an edit, an edit with its hash made again, a loss, a swap, nothing."""
    lines, place = list(lines), chance.randrange(len(lines))
    match chance.randrange(5):
        case 0:
            lines[place] = lines[place].replace(b"operator", b"somebody")
        case 1:
            lines[place] = rehash(lines[place].replace(b"operator", b"somebody"))
        case 2:
            del lines[place]
        case 3:
            other = chance.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
    return lines


def rehash(line: bytes) -> bytes:
    seq, prev = int(line[7 : line.index(b",")]), line.split(b'"prev_hash":"')[1][:64].decode()
    text = line.split(b'"body":', 1)[1][:-2].decode()
    return event_line(seq, prev, event_hash(seq, prev, text.encode()), text)


def naive_first_bad(lines: list[bytes]) -> int | None:
    """The recipe once more, written as an outsider would: no shared code but the hash of hashlib."""
    import hashlib
    import json

    prev = "0" * 64
    for number, line in enumerate(lines, start=1):
        event = json.loads(line)
        text = line[line.index(b'"body":') + 7 : -2]
        found = hashlib.sha256(b"audit-v1\0" + str(number).encode() + prev.encode() + text).hexdigest()
        if (event["seq"], event["prev_hash"], event["hash"]) != (number, prev, found):
            return number
        prev = found
    return None


def test_two_verifiers_agree_on_a_thousand_random_logs():
    chance, broken = random.Random(20_260_301), 0
    for _ in range(1_000):
        lines = harm(chance, chain([body(number) for number in range(chance.randrange(1, 12))]))
        found = first_bad(lines)
        assert found == naive_first_bad(lines)
        broken += found is not None
    assert 500 < broken < 1_000


HARMS = (
    "UPDATE audit_auditevent SET body = replace(body, 'operator', 'somebody') WHERE seq = {}",
    "UPDATE audit_auditevent SET hash = repeat('f', 64) WHERE seq = {}",
    "UPDATE audit_auditevent SET prev_hash = repeat('e', 64) WHERE seq = {}",
    "DELETE FROM audit_auditevent WHERE seq = {}",
    "UPDATE audit_auditevent SET seq = -seq WHERE seq = {};"
    "UPDATE audit_auditevent SET seq = 1000 WHERE seq < 0",
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("harm_", HARMS)
@pytest.mark.parametrize("seq", [1, 4, 7])
def test_the_application_and_the_script_name_the_same_event(tmp_path, harm_, seq):
    add_events(9)
    with as_owner("audit_auditevent") as owner:
        # Out of the way of the constraint, which would refuse a negative seq on its way.
        owner.execute("ALTER TABLE audit_auditevent DROP CONSTRAINT audit_event_seq_from_one")
        for statement in harm_.format(seq).split(";"):
            owner.execute(statement)
        owner.execute("ALTER TABLE audit_auditevent ADD CONSTRAINT audit_event_seq_from_one CHECK (seq >= 1)")
    report = verify_database()
    assert report.first_bad_seq == seq
    ended = run(export_to(tmp_path / "log"))
    assert ended.returncode == 1
    assert f"broken: seq {seq}: " in ended.stdout
