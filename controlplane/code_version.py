"""Which code this is: one digest over the source tree and the lock; no git is needed."""

import hashlib
from functools import lru_cache
from pathlib import Path

PACKAGES = ("controlplane", "trading", "risk", "golive")
ROOT = Path(__file__).resolve().parent.parent


@lru_cache(maxsize=1)
def get_code_version() -> str:
    """SHA-256 over names and contents, 64 hex digits; read once per process."""
    return digest_tree(ROOT)


def digest_tree(root: Path) -> str:
    """Digest every *.py of our packages, manage.py and the lock, in the order of their paths."""
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    files += [root / "manage.py", root / "deploy" / "requirements.lock"]
    whole = hashlib.sha256()
    for path in sorted(file for file in files if file.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{content}  {path.relative_to(root).as_posix()}\n".encode())
    return whole.hexdigest()
