"""Receive the demo desk's alerts on 127.0.0.1 and keep them in a file, one JSON object a line."""

import signal
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
from django.core.management.base import BaseCommand

LONGEST_BODY = 64_000


class Receiver(HTTPServer):
    """Appends each message it accepts; what it answers 204 is in the file."""

    def __init__(self, port: int, file: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.file = file


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = 5

    def do_POST(self) -> None:
        try:
            length = min(int(self.headers.get("Content-Length", "0")), LONGEST_BODY)
            message = orjson.loads(self.rfile.read(length))
        except ValueError:
            self.send_error(400, "not JSON")
            return
        with self.server.file.open("ab") as file:
            file.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """The file is the record."""


class Command(BaseCommand):
    help = "Receives alerts on 127.0.0.1 for a desk that has no channel of its own yet."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; 0 takes a free one")
        parser.add_argument("--file", type=Path, required=True, help="where the messages go")

    def handle(self, *args: Any, **options: Any) -> None:
        def stop(_: int, __: FrameType | None) -> None:
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, stop)
        with Receiver(options["port"], options["file"]) as receiver:
            self.stdout.write(f"READY json://127.0.0.1:{receiver.server_port}")
            self.stdout.flush()
            receiver.serve_forever()
