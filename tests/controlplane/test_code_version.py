"""The code's digest follows every source file and the lock, and nothing else."""

from pathlib import Path

from controlplane.code_version import digest_tree, get_code_version


def make_tree(root: Path) -> Path:
    for name in ("risk/core/gate.py", "trading/models.py", "manage.py", "deploy/requirements.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one\n", encoding="utf-8")
    return root


def test_it_is_the_same_for_the_same_tree_wherever_it_lies(tmp_path):
    assert digest_tree(make_tree(tmp_path / "a b")) == digest_tree(make_tree(tmp_path / "c"))
    assert get_code_version() == get_code_version()
    assert len(get_code_version()) == 64


def test_it_changes_with_a_source_a_name_and_the_lock(tmp_path):
    root = make_tree(tmp_path)
    seen = {digest_tree(root)}
    (root / "risk/core/gate.py").write_text("two\n", encoding="utf-8")
    seen.add(digest_tree(root))
    (root / "risk/core/gate.py").rename(root / "risk/core/door.py")
    seen.add(digest_tree(root))
    (root / "deploy/requirements.lock").write_text("two\n", encoding="utf-8")
    seen.add(digest_tree(root))
    assert len(seen) == 4


def test_it_does_not_change_with_configuration_or_state(tmp_path):
    root = make_tree(tmp_path)
    before = digest_tree(root)
    for name in ("config/profiles.yaml", "var/demo.json", "tests/test_it.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one\n", encoding="utf-8")
    assert digest_tree(root) == before
