"""`gaugeline models sign`: what a gateway that takes only signed models runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from gateway.model_key import verifier
from models import manifest, runtime, signing
from models.cli import main
from tests.models.small import write
from wire.errors import ModelError


def key_at(path: Path, key: object = None, lock: KeySerializationEncryption | None = None) -> Path:
    """A private key in its file, as openssl writes it."""
    made = key or Ed25519PrivateKey.generate()
    assert isinstance(made, Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
    path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption()))
    return path


def test_a_signed_file_runs_where_only_signed_ones_may_and_an_unsigned_one_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, key = write(tmp_path / "m.onnx"), key_at(tmp_path / "models.key")
    before = model.read_bytes()
    (tmp_path / "models.pem").write_bytes(signing.public_pem(signing.private_key(key)))
    verify = verifier(tmp_path / "models.pem")
    with pytest.raises(ModelError, match="not signed"):
        runtime.load(model, verify)
    assert main(["sign", str(model), "--key", str(key)]) == 0
    assert f"{model}: signed; ed25519:" in capsys.readouterr().out
    assert runtime.load(model, verify).manifest.signature.startswith("ed25519:")
    assert manifest.parts(model.read_bytes(), "m")[1] == manifest.parts(before, "m")[1]
    # Signed again by another key: the first is not trusted any more; signed by ours again: the same bytes.
    first = model.read_bytes()
    other = key_at(tmp_path / "other.key")
    assert main(["sign", str(model), "--key", str(other), "--out", str(tmp_path / "o.onnx")]) == 0
    assert model.read_bytes() == first
    with pytest.raises(ModelError, match="not one of the key that this machine trusts"):
        runtime.load(tmp_path / "o.onnx", verify)
    assert main(["sign", str(tmp_path / "o.onnx"), "--key", str(key)]) == 0
    assert (tmp_path / "o.onnx").read_bytes() == first
    assert not list(tmp_path.glob("*.new"))


def test_what_is_damaged_or_foreign_is_not_signed(tmp_path: Path) -> None:
    key = signing.private_key(key_at(tmp_path / "models.key"))
    content = write(tmp_path / "m.onnx").read_bytes()
    with pytest.raises(ModelError, match=r"truncated"):
        signing.signed(content[:-9], key, "m.onnx")
    with pytest.raises(ModelError, match="not an ONNX file"):
        signing.signed(b"hello", key, "m.onnx")
    with pytest.raises(ModelError, match="truncated or damaged"):
        signing.signed(content.replace(b"nowhere", b"nowhare"), key, "m.onnx")


def test_a_key_that_cannot_sign_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write(tmp_path / "m.onnx")
    curve = key_at(tmp_path / "ec.key", ec.generate_private_key(ec.SECP256R1()))
    locked = key_at(tmp_path / "locked.key", lock=BestAvailableEncryption(b"secret"))
    (tmp_path / "text.key").write_text("hello")
    cases = {
        curve: "must be an Ed25519 key", locked: "is locked by a password",
        tmp_path / "text.key": "holds no private key", tmp_path / "none.key": "cannot be read",
    }  # fmt: skip
    for key, told in cases.items():
        assert main(["sign", str(model), "--key", str(key)]) == 1
        assert told in capsys.readouterr().err
    assert main(["sign", str(model), "--key", str(key_at(tmp_path / "k")), "--out", str(tmp_path / "no/m.onnx")]) == 1
    assert "cannot be written" in capsys.readouterr().err
