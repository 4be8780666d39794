#!/usr/bin/env python3
"""The one door for people and scripts: builds the environment if needed, then runs the command."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from deploy import bootstrap


def main() -> int:
    bootstrap.enter()
    from controlplane.launch import run_command

    return run_command(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
