"""What we are measured against, each in an environment of its own under `var/benchmarks`.

NautilusTrader and freqtrade must not enter the product's environment: they bring other versions of
what it uses. `python -m benchmarks.anchors` builds both; a benchmark builds what it needs.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
HOME = ROOT / "var" / "benchmarks"
REQUIREMENTS = FOLDER / "requirements.txt"


class AnchorMissing(Exception):
    """The environment could not be built; the published figure is used instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One program, by the name that it has in the requirements."""

    package: str

    @property
    def home(self) -> Path:
        return HOME / self.package

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    def requirements(self) -> list[str]:
        lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(self.package)]

    def ensure(self) -> Path:
        """The interpreter of the environment, built where it is not there; raises AnchorMissing."""
        mark = self.home / "installed"
        wanted = "\n".join(self.requirements())
        if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
            return self.python
        print(f"installing {self.package} under {self.home}", file=sys.stderr)
        try:
            # No symlinks to the product's own environment: the base interpreter is what is copied.
            venv.create(self.home, with_pip=True, clear=True, symlinks=True)
            run([str(self.python), "-m", "pip", "install", "--quiet", *self.requirements()])
        except (OSError, subprocess.CalledProcessError) as failure:
            raise AnchorMissing(f"{self.package} cannot be installed: {failure}") from failure
        mark.write_text(wanted, encoding="utf-8")
        return self.python


NAUTILUS = Anchor(package="nautilus_trader")
FREQTRADE = Anchor(package="freqtrade")


def run(command: Sequence[str]) -> str:
    """What the command printed; its complaints appear where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        done.check_returncode()
    return done.stdout


class Engine:
    """NautilusTrader's risk engine in a process of its own, asked for rounds of orders."""

    def __init__(self) -> None:
        command = [str(NAUTILUS.ensure()), str(FOLDER / "nautilus_engine.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version: str = self._read()["version"]

    def sample(self, count: int) -> list[float]:
        """Seconds of each order, measured inside the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return [nanoseconds / 1e9 for nanoseconds in self._read()["nanoseconds"]]

    def _read(self) -> dict:
        """The next line of JSON; the engine's own log lines are passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise AnchorMissing("the engine ended without an answer")

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=30)


if __name__ == "__main__":
    for anchor in (NAUTILUS, FREQTRADE):
        print(anchor.ensure())
