"""The stand-alone verifier, against logs made without the application."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.audit import verify
from controlplane.audit.verify import Broken, event_hash, event_line, row_line, seal_hasher, verify_lines

SCRIPT = Path(verify.__file__)


def body(number: int, action: str = "golive.activate", **detail: object) -> str:
    facts = {
        "action": action,
        "actor": "operator",
        "detail": {"é": "\u2028日本\n", **detail},
        "reason": "r" * 20,
    }
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return f'{{"occurred_at":"2026-03-01T12:00:00.{number:06}Z",{text[1:]}'


def chain(bodies: list[str], *, seq: int = 0, prev: str = "0" * 64) -> list[bytes]:
    lines = []
    for number, text in enumerate(bodies, start=seq + 1):
        found = event_hash(number, prev, text.encode())
        lines.append(event_line(number, prev, found, text))
        prev = found
    return lines


def log(length: int = 20, **detail: object) -> list[bytes]:
    return chain([body(number, **detail) for number in range(length)])


def hash_of(line: bytes) -> str:
    return str(json.loads(line)["hash"])


def first_bad_seq(lines: list[bytes], **given: object) -> int:
    with pytest.raises(Broken) as broken:
        verify_lines(lines, **given)  # type: ignore[arg-type]
    return broken.value.seq


def test_a_whole_log_says_its_head_and_that_nothing_outside_vouches_for_it():
    lines = log(20)
    found, _ = verify_lines(lines)
    assert (found.seq, found.hash, found.unanchored_since) == (20, hash_of(lines[-1]), 1)


def test_the_recipe_gives_this_hash_for_ever():
    assert event_hash(1, "0" * 64, b'{"a":"\xc3\xa9"}') == (
        "66e66db5a49560995e33ae4fece51c16af034c29b4bf2d72d387b6d003b6c8a7"
    )


@pytest.mark.parametrize("seed", range(200))
def test_any_corrupt_byte_is_found_and_its_event_named(seed):
    chance = random.Random(seed)
    data = bytearray(b"".join(log(20)))
    place = chance.randrange(len(data))
    data[place] = chance.choice([byte for byte in range(256) if byte != data[place]])
    lines = bytes(data).splitlines(keepends=True) if chance.random() < 0.5 else split(bytes(data))
    bad = b"".join(log(20))[:place].count(b"\n") + 1
    assert first_bad_seq(lines) == bad


def split(data: bytes) -> list[bytes]:
    """Lines as a file gives them."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + [
        rest for rest in data.split(b"\n")[-1:] if rest
    ]


def test_a_missing_event_is_named():
    lines = log(20)
    assert first_bad_seq(lines[:6] + lines[7:]) == 7
    assert first_bad_seq(lines[1:]) == 1


def test_swapped_events_are_named():
    lines = log(20)
    lines[4], lines[5] = lines[5], lines[4]
    assert first_bad_seq(lines) == 5


def test_a_repeated_event_is_named():
    lines = log(20)
    assert first_bad_seq([*lines[:5], lines[4], *lines[5:]]) == 6


def test_an_event_cut_short_is_named():
    lines = log(20)
    assert first_bad_seq([*lines[:-1], lines[-1][:-1]]) == 20
    assert first_bad_seq([*lines[:-1], lines[-1][:40]]) == 20


def test_time_that_goes_back_is_named():
    assert first_bad_seq(chain([body(5), body(6), body(4)])) == 3


def test_a_cut_tail_is_found_with_a_checkpoint_and_declared_unanchored_without():
    lines = log(20)
    cut, _ = verify_lines(lines[:15])
    assert cut.unanchored_since == 1
    assert first_bad_seq(lines[:15], checkpoints={18: hash_of(lines[17])}) == 16


def test_a_rewritten_log_is_found_with_a_checkpoint():
    lines, rewritten = log(20), log(20, changed=True)
    verify_lines(rewritten)
    assert first_bad_seq(rewritten, checkpoints={10: hash_of(lines[9])}) == 10


def test_events_after_the_last_checkpoint_are_unanchored():
    lines = log(20)
    heads = {5: hash_of(lines[4]), 12: hash_of(lines[11])}
    assert verify_lines(lines, checkpoints=heads)[0].unanchored_since == 13
    assert verify_lines(lines, checkpoints={20: hash_of(lines[19])})[0].unanchored_since is None


def test_a_part_of_a_log_is_tied_to_the_checkpoint_before_it():
    lines = log(20)
    part, _ = verify_lines(lines[10:], after_seq=10, checkpoints={10: hash_of(lines[9])})
    assert (part.seq, part.unanchored_since) == (20, 11)
    assert verify_lines(lines[10:], after_seq=10)[0].seq == 20
    assert first_bad_seq(lines[10:], after_seq=10, checkpoints={10: "f" * 64}) == 11
    assert first_bad_seq(lines[11:], after_seq=10) == 11


def test_an_empty_log_vouches_for_nothing():
    assert verify_lines([])[0].unanchored_since == 1
    assert first_bad_seq([], checkpoints={1: "f" * 64}) == 1


def sealed_log() -> list[bytes]:
    """One event, three rows of one stream, and the event that seals them."""
    rows = ['["1", "10.5"]', '["2", null]', '["4", "é"]']
    hasher = seal_hasher("fills")
    for row in rows:
        hasher.update(row.encode() + b"\n")
    seal = body(1, "audit.seal", stream="fills", count=3, digest=hasher.hexdigest(), ranges=[[1, 2], [4, 4]])
    first, last = chain([body(0), seal])
    return [first, *(row_line("fills", row) for row in rows), last]


def test_exported_rows_are_digested_against_their_seal():
    _, rows = verify_lines(sealed_log())
    assert rows.rows == 3


@pytest.mark.parametrize("seed", range(50))
def test_any_corrupt_byte_of_a_row_is_found_at_its_seal(seed):
    chance = random.Random(seed)
    lines = sealed_log()
    data = bytearray(lines[2])
    place = chance.randrange(len(data))
    data[place] = chance.choice([byte for byte in range(256) if byte != data[place]])
    assert first_bad_seq([*lines[:2], bytes(data), *lines[3:]]) == 2


def test_a_row_that_is_missing_added_or_swapped_is_found_at_its_seal():
    first, one, two, three, seal = sealed_log()
    assert first_bad_seq([first, one, three, seal]) == 2
    assert first_bad_seq([first, one, two, two, three, seal]) == 2
    assert first_bad_seq([first, two, one, three, seal]) == 2
    assert first_bad_seq([first, one, two, three, seal, one]) == 3


def test_rows_may_be_left_out_altogether_but_not_of_some_seals_only():
    first, one, two, three, seal = sealed_log()
    assert verify_lines([first, seal])[1].rows == 0
    bare = chain([body(2, "audit.seal", stream="orders", count=1, digest="x")], seq=2, prev=hash_of(seal))
    assert first_bad_seq([first, one, two, three, seal, *bare]) == 3


def test_a_malformed_seal_is_named():
    assert first_bad_seq(chain([body(0), body(1, "audit.seal", stream="fills")])) == 2


def run(*words: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """As an outsider runs it: another folder, no packages, no environment."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *map(str, words)],
        capture_output=True,
        text=True,
        cwd="/",
        env={},
        check=False,
    )


def write(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def test_the_script_runs_without_the_application(tmp_path):
    lines = log(20)
    export = write(tmp_path / "log.jsonl", lines)
    whole = run(export)
    assert whole.returncode == 0, whole.stderr
    assert f"whole: 20 events, head 20 {hash_of(lines[-1])}" in whole.stdout
    assert "unanchored since seq 1" in whole.stdout
    write(export, lines[:6] + lines[7:])
    broken = run(export)
    assert broken.returncode == 1
    assert "broken: seq 7: missing: found seq 8 in its place" in broken.stdout
    machine = run(export, "--json")
    assert json.loads(machine.stdout) == {
        "whole": False,
        "first_bad_seq": 7,
        "why": "missing: found seq 8 in its place",
    }


def test_the_script_compares_with_checkpoints(tmp_path):
    lines = log(20)
    export = write(tmp_path / "log.jsonl", lines)
    heads = tmp_path / "heads.jsonl"
    heads.write_text(json.dumps({"seq": 12, "hash": hash_of(lines[11])}) + "\n\n")
    assert "unanchored since seq 13" in run(export, "--checkpoints", heads).stdout
    heads.write_text(json.dumps({"seq": 20, "hash": hash_of(lines[19])}) + "\n")
    assert "anchored to the end" in run(export, "--checkpoints", heads).stdout
    write(export, lines[:15])
    assert run(export, "--checkpoints", heads).returncode == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("nonsense\n", 'heads.jsonl:1: expected {"seq":N,"hash":"H"}'),
        ('\n{"seq":1}\n', "heads.jsonl:2: expected"),
        ('{"seq":1,"hash":"a"}\n{"seq":1,"hash":"b"}\n', "heads.jsonl:2: two different hashes for seq 1"),
    ],
)
def test_a_bad_checkpoints_file_is_one_line_and_exit_2(tmp_path, content, complaint):
    export = write(tmp_path / "log.jsonl", log(3))
    heads = tmp_path / "heads.jsonl"
    heads.write_text(content)
    ended = run(export, "--checkpoints", heads)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_missing_file_or_a_wrong_option_is_exit_2(tmp_path):
    assert run(tmp_path / "absent.jsonl").returncode == 2
    assert run("--unknown").returncode == 2


def test_the_script_may_be_told_where_a_part_begins(tmp_path, capsys):
    lines = log(20)
    export = write(tmp_path / "log.jsonl", lines[10:])
    heads = tmp_path / "heads.jsonl"
    heads.write_text(json.dumps({"seq": 10, "hash": hash_of(lines[9])}))
    assert verify.main([str(export), "--after", "10", "--checkpoints", str(heads)]) == 0
    assert "whole: 10 events, head 20" in capsys.readouterr().out
    assert verify.main([str(export)]) == 1
    assert "broken: seq 1: missing: found seq 11 in its place" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [b"null\n", b'{"seq":1}\n', b'{"stream":x,"row":[]}\n', b'{"stream":"x"}\n', b"\xff\n", b"\n"]
)
def test_a_line_that_is_no_event_is_named(line):
    assert first_bad_seq([line]) == 1
    assert first_bad_seq([line], after_seq=7) == 8
