"""The stand-alone verifier's half of checkpoints: signatures, links, and what it says of them."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controlplane.audit.anchors import (
    CHECKPOINT_DOMAIN,
    GENESIS,
    BadFile,
    checkpoint_digest,
    checkpoint_line,
    is_signed_by,
    key_fingerprint,
    read_anchors,
)
from tests.audit.test_verify import hash_of, log, run, write

VECTORS = (
    # RFC 8032, 7.1, tests 1 to 3: public key, message, signature.
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_signatures_of_the_standard_are_good(key, message, signature):
    assert is_signed_by(bytes.fromhex(key), bytes.fromhex(message), signature)


@pytest.mark.parametrize("bit", range(0, 512, 7))
def test_a_signature_with_one_bit_changed_is_not(bit):
    key, message, signature = VECTORS[2]
    changed = int(signature, 16) ^ (1 << bit)
    assert not is_signed_by(bytes.fromhex(key), bytes.fromhex(message), f"{changed:0128x}")


@pytest.mark.parametrize("bit", range(0, 256, 11))
def test_another_key_or_another_message_did_not_sign(bit):
    key, message, signature = VECTORS[2]
    changed = (int(key, 16) ^ (1 << bit)).to_bytes(32, "big")
    assert not is_signed_by(changed, bytes.fromhex(message), signature)
    assert not is_signed_by(bytes.fromhex(key), bytes.fromhex(message) + b"\0", signature)


@pytest.mark.parametrize("signature", ["", "zz", "00" * 63, "00" * 65, "ff" * 64])
def test_what_is_no_signature_is_none(signature):
    assert not is_signed_by(bytes.fromhex(VECTORS[0][0]), b"", signature)


def test_a_scalar_past_the_order_is_refused_though_it_would_come_out():
    key, message, signature = VECTORS[0]
    order = 2**252 + 27742317777372353535851937790883648493
    factor = int.from_bytes(bytes.fromhex(signature)[32:], "little") + order
    again = bytes.fromhex(signature)[:32] + factor.to_bytes(32, "little")
    assert not is_signed_by(bytes.fromhex(key), bytes.fromhex(message), again.hex())


def checkpoints(heads, *, key=KEY, previous=GENESIS, origin="desk") -> list[str]:
    """Signed lines of (size, hash) pairs, each with the digest of the one before."""
    lines = []
    for size, hash_ in heads:
        facts = {
            "hash": hash_,
            "key": key_fingerprint(key.public_key().public_bytes_raw()),
            "origin": origin,
            "previous": previous,
            "reason": "hourly",
            "size": size,
            "time": "2026-03-01T12:00:00.000000Z",
        }
        body = json.dumps(facts, separators=(",", ":"), sort_keys=True)
        lines.append(checkpoint_line(body, key.sign(CHECKPOINT_DOMAIN + body.encode()).hex()))
        previous = checkpoint_digest(body)
    return lines


@pytest.fixture
def lines() -> list[bytes]:
    return log(20)


@pytest.fixture
def signed(lines) -> list[str]:
    return checkpoints([(size, hash_of(lines[size - 1])) for size in (4, 9, 15)])


@pytest.fixture
def key_file(tmp_path) -> Path:
    path = tmp_path / "key"
    path.write_text(PUBLIC.hex() + "\n")
    return path


def keep(folder: Path, *files: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        (folder / f"2026-03-0{number + 1}.jsonl").write_text("\n".join(file) + "\n")
    return folder


def test_a_folder_of_signed_checkpoints_anchors_the_log(tmp_path, lines, signed, key_file):
    export = write(tmp_path / "log.jsonl", lines)
    folder = keep(tmp_path / "kept", signed[:2], signed[2:])
    ended = run(export, "--checkpoints", folder, "--key", key_file)
    assert ended.returncode == 0, ended.stderr
    assert "unanchored since seq 16" in ended.stdout
    assert "last checkpoint: seq 15 at 2026-03-01T12:00:00.000000Z, signature checked" in ended.stdout
    assert "signature not checked" in run(export, "--checkpoints", folder).stdout
    facts = json.loads(run(export, "--checkpoints", folder, "--key", key_file, "--json").stdout)
    assert (facts["unanchored_since"], facts["signatures_checked"]) == (16, True)
    assert facts["checkpoints_missing_before"] == []


def test_a_cut_tail_and_a_rewritten_log_are_named(tmp_path, lines, signed, key_file):
    folder = keep(tmp_path / "kept", signed)
    cut = run(write(tmp_path / "cut", lines[:12]), "--checkpoints", folder, "--key", key_file)
    assert cut.returncode == 1
    assert "broken: seq 13: the log ends before the checkpoint at seq 15" in cut.stdout
    other = run(write(tmp_path / "other", log(20, changed=True)), "--checkpoints", folder, "--key", key_file)
    assert other.returncode == 1
    assert "broken: seq 4: the hash is not that of the checkpoint" in other.stdout


def test_rewriting_after_the_last_checkpoint_is_never_called_anchored(tmp_path, lines, signed, key_file):
    folder = keep(tmp_path / "kept", signed)
    ended = run(write(tmp_path / "log", lines[:17]), "--checkpoints", folder, "--key", key_file)
    assert ended.returncode == 0
    assert "unanchored since seq 16" in ended.stdout
    assert "anchored to the end" not in ended.stdout


def test_a_forged_checkpoint_is_refused_by_its_line(tmp_path, lines, signed, key_file):
    forged = checkpoints([(20, hash_of(lines[19]))], key=Ed25519PrivateKey.generate())
    folder = keep(tmp_path / "kept", [*signed, *forged])
    export = write(tmp_path / "log.jsonl", lines)
    ended = run(export, "--checkpoints", folder, "--key", key_file)
    assert ended.returncode == 2
    assert ":4: the signature is not by a key that was given" in ended.stderr


def test_no_field_of_any_checkpoint_can_be_changed(tmp_path, signed, key_file):
    for number, line in enumerate(signed):
        for old, new in (('"size":', '"size":1'), ("hourly", "hourlx"), ("desk", "dusk"), ("12:00", "13:00")):
            changed = [*signed[:number], line.replace(old, new), *signed[number + 1 :]]
            path = keep(tmp_path / "kept", changed)
            with pytest.raises(BadFile):
                read_anchors(str(path), str(key_file))


def test_a_missing_checkpoint_is_reported(tmp_path, lines, signed, key_file):
    folder = keep(tmp_path / "kept", [signed[0], signed[2]])
    ended = run(write(tmp_path / "log", lines), "--checkpoints", folder, "--key", key_file)
    assert ended.returncode == 0
    assert "a checkpoint is missing before the one at seq 15" in ended.stdout


def test_a_repeated_line_says_nothing_new(tmp_path, signed, key_file):
    path = keep(tmp_path / "kept", [signed[0], signed[0], *signed])
    anchors = read_anchors(str(path), str(key_file))
    assert (sorted(anchors.heads), anchors.gaps) == ([4, 9, 15], [])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda line: line.replace('"signature"', '"signed"'), "expected"),
        (lambda line: line.replace('{"checkpoint":', '{ "checkpoint":'), "not in the form of a checkpoint"),
        (lambda line: line.replace('"origin":"desk",', ""), "expected"),
        (lambda line: '{"seq":1,"hash":"aa"}', "is not signed"),
    ],
)
def test_what_is_no_checkpoint_is_named_with_its_line(tmp_path, signed, key_file, change, complaint):
    path = keep(tmp_path / "kept", [signed[0], change(signed[1])])
    with pytest.raises(BadFile, match=f":2: .*{complaint}"):
        read_anchors(str(path), str(key_file))


def test_two_logs_in_one_folder_are_told_apart(tmp_path, signed):
    path = keep(tmp_path / "kept", signed, checkpoints([(1, "aa")], origin="another"))
    with pytest.raises(BadFile, match="a checkpoint of another log, another"):
        read_anchors(str(path))


def test_two_hashes_of_one_head_contradict(tmp_path, signed, lines):
    path = keep(tmp_path / "kept", signed, checkpoints([(15, hash_of(lines[0]))]))
    with pytest.raises(BadFile, match="two different hashes for seq 15"):
        read_anchors(str(path))


def test_a_key_file_is_checked(tmp_path, signed):
    folder = keep(tmp_path / "kept", signed)
    for text in ("nonsense", "abcd"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(BadFile, match=":1: expected a public key of 64 hex digits"):
            read_anchors(str(folder), str(tmp_path / "bad"))
    assert run(tmp_path / "x", "--key", tmp_path / "bad").returncode == 2


def test_segments_are_verified_as_one_log(tmp_path, lines, signed, key_file):
    first, second = write(tmp_path / "1", lines[:8]), write(tmp_path / "2", lines[8:])
    folder = keep(tmp_path / "kept", signed)
    ended = run(first, second, "--checkpoints", folder, "--key", key_file)
    assert "whole: 20 events" in ended.stdout
    assert run(second, first).returncode == 1
    assert "broken: seq 1: missing: found seq 9" in run(second).stdout
    assert "whole: 12 events" in run(second, "--after", "8").stdout
