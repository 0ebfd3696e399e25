"""What is built and installed: the wheel, the locks, the command."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gaugeline

ROOT = Path(__file__).parent.parent
PACKAGES = {"wire", "agent", "gateway", "models", "cloud", "firmware_sim"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_exactly_our_names(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES | {"gaugeline.py"}


def test_the_wheel_holds_what_runs_without_python(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    for pattern in (
        r"cloud/web/static/dist/.*\.js$",
        r"cloud/web/static/dist/.*\.css$",
        r"cloud/web/templates/.*\.html$",
        r"cloud/costs/tariffs/.*\.yaml$",
        r"cloud/state/migrations/env\.py$",
        r"cloud/state/migrations/versions/0001_.*\.py$",
        r"gateway/outbox/schema/0001_.*\.sql$",
        r"models/packaged/demo_machine\.onnx$",
        r"firmware_sim/scenarios/demo\.yaml$",
        r"firmware_sim/recordings/.*\.csv",
        r"firmware_sim/recordings/LICENSE",
    ):
        assert any(re.match(pattern, name) for name in names), f"nothing in the wheel is like {pattern}"
    assert not [name for name in names if "node_modules" in name or name.endswith((".ts", ".map"))]


@pytest.mark.parametrize("lock", ["dev", "cloud", "gateway"])
def test_locks_hold_versions_and_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.lock").read_text()
    assert "://" not in text
    pinned = re.findall(r"^([a-z0-9._-]+)==", text, re.M)
    assert len(pinned) > 10
    assert text.count("--hash=sha256:") >= len(pinned)


def test_the_locks_of_gateway_and_cloud_are_parts_of_the_whole() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==[^ \n]+)", (ROOT / f"requirements/{lock}.lock").read_text(), re.M))

    assert pins("gateway") < pins("cloud") < pins("dev")


def test_the_command_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert gaugeline.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in gaugeline.COMMANDS)
    assert gaugeline.main([]) == 2
    assert gaugeline.main(["--version"]) == 0
    assert gaugeline.VERSION in capsys.readouterr().out
    assert gaugeline.main(["gatewya"]) == 2
    assert "no command 'gatewya'" in capsys.readouterr().err


def test_a_missing_extra_is_told_and_not_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'duckdb'", name="duckdb")

    monkeypatch.setattr(gaugeline, "import_module", missing)
    assert gaugeline.main(["cloud", "run"]) == 1
    assert "'duckdb', which is not installed" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_fault() -> None:
    """`gaugeline sim export ... | head` ends quietly."""
    command = [sys.executable, "-m", "gaugeline", "sim", "export", "demo", "--device", "machine-plc", "--rows", "3500"]
    export = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert export.stdout is not None
    assert export.stdout.readline().startswith("t_s,")
    export.stdout.close()
    assert export.stderr is not None
    said = export.stderr.read()
    export.stderr.close()
    assert (export.wait(30), said) == (0, "")


def test_the_version_is_the_same_everywhere() -> None:
    assert f'version = "{gaugeline.VERSION}"' in (ROOT / "pyproject.toml").read_text()


def test_a_gateway_needs_nothing_of_the_cloud_or_of_training() -> None:
    """The gateway's whole import tree, with every package of the other extras out of reach."""
    blocked = [
        "alembic",
        "duckdb",
        "fastapi",
        "httpx",
        "influxdb_client",
        "jinja2",
        "psycopg",
        "sqlalchemy",
        "uvicorn",
        "onnx",
        "amqtt",
        "rich",
    ]
    code = (
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "import gateway.cli, gateway.app, agent.drivers, agent.pipeline, agent.score\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
