"""The archive in S3-compatible storage, against a real server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud.analytics.catalogue import question
from cloud.analytics.question import Options
from cloud.analytics.source import Range, answer
from cloud.archive.folder import open_folder
from cloud.archive.manifest import folder_of
from cloud.archive.verify import verify
from tests.cloud.archive.keeping import DAY, EVERY_KIND, NEXT, NOON, flow, keeping
from tests.cloud.archive.s3_server import S3
from wire.errors import ConfigError


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    for name, value in (("AWS_ACCESS_KEY_ID", "us"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)
    server = S3(tmp_path / "s3")
    server.start()
    try:
        httpx.put(f"http://127.0.0.1:{server.port}/bucket", trust_env=False).raise_for_status()
        yield server
    finally:
        server.stop()


async def test_a_bucket_serves_like_a_folder(tmp_path: Path, s3: S3) -> None:
    for wrong in (s3.place("nobody/x"), "s3://bucket/x?no_such_option=1"):
        with pytest.raises(ConfigError, match="archive s3://"):
            open_folder(wrong).check()
    place = s3.place("bucket/plants/archive")
    folder = open_folder(place)
    folder.check()
    async with keeping(tmp_path, place) as k:
        await k.write(*EVERY_KIND, flow(NOON + 1, 4.0))
        await k.write(flow(NEXT.from_ms, 1.0))
        job = await k.run()
        assert (job.problems, [r["rows"] for r in job.results]) == ([], [9, 1])
        assert "secret" not in str((await k.archiver.status())["place"])
        await k.lose(DAY)
        await k.write(flow(NOON + 2, 5.0))
        assert (await k.run()).results[0]["kept"] == 9
        assert sorted(folder.names(folder_of(DAY))) == sorted(["manifest.json", k.manifest().parts[0].name])
        assert verify(folder).problems == []
        assert (await k.restore(DAY)).results[0] == {
            "site": "plant", "day": "2026-05-01", "rows": 10, "restored": 9, "there": 1, "refused": 0,
        }  # fmt: skip
        found = answer(folder, question("hourly"), Range("plant", 0, 2**42), Options("flow"))
        assert [(r["samples"], r["lowest"], r["highest"]) for r in found.to_pylist()] == [(2, 4.0, 5.0), (1, 1.0, 1.0)]
        folder.delete(f"{folder_of(DAY)}/{k.manifest().parts[0].name}")
        (problem,) = verify(folder).problems
        assert "is missing" in problem.what
