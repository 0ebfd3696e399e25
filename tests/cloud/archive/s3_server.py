"""An S3-compatible server for tests: moto's, as a process of its own on a free port."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from tests.servers import Server


@dataclass
class S3(Server):
    """Buckets live in its memory; keys are accepted as they come."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(self.port)]

    def place(self, path: str) -> str:
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"
