"""Signs model files: a gateway whose site.yaml names the public key runs only what this has signed.

The signature is `ed25519:` and base64 of 64 bytes over the file's seal, and with it over description and graph. It
stands in the file's metadata, beside the seal, which stays as it is.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from models import inspection
from models import manifest as manifests
from models.manifest import SIGNATURE_KEY
from wire.errors import ModelError

KIND = "ed25519:"


def private_key(path: Path) -> Any:
    """An Ed25519PrivateKey from a PEM file. Raises ModelError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as fault:
        raise ModelError(f"{path}: cannot be read: {fault.strerror}") from fault
    except TypeError as fault:
        raise ModelError(
            f"{path}: is locked by a password: give one without (openssl pkey -in FILE -out OTHER)"
        ) from fault
    except ValueError as fault:
        raise ModelError(f"{path}: holds no private key: give a PEM file with -----BEGIN PRIVATE KEY-----") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise ModelError(f"{path}: must be an Ed25519 key (openssl genpkey -algorithm ed25519 -out {path.name})")
    return key


def public_pem(key: Any) -> bytes:
    """What site.yaml's public_key_file holds."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


def signed(content: bytes, key: Any, where: str) -> bytes:
    """The file with its signature in the place of another or none. Raises ModelError for a file that is not ours, or
    is damaged: that is not signed."""
    import onnx
    from google.protobuf.message import DecodeError

    inspection.parse(content, where)
    seal = manifests.signed_part(content, where)
    try:
        model = onnx.load_from_string(content)
    except DecodeError as fault:
        raise ModelError(f"{where}: not an ONNX file, or a truncated one ({fault})") from fault
    entry = next(each for each in model.metadata_props if each.key == SIGNATURE_KEY)
    entry.value = KIND + base64.b64encode(key.sign(seal)).decode()
    written: bytes = model.SerializeToString(deterministic=True)
    if manifests.signed_part(written, where) != seal:
        raise ModelError(f"{where}: was written by another library, so that it cannot be signed without a change")
    return written


def sign(file: Path, key_file: Path, out: Path) -> str:
    """Writes the signed file, as a whole or not at all; what was done, in a line. Raises ModelError."""
    key = private_key(key_file)
    content = signed(manifests.content_of(file), key, str(file))
    new = out.with_name(out.name + ".new")
    try:
        new.write_bytes(content)
        new.replace(out)
    except OSError as fault:
        raise ModelError(f"{out}: cannot be written: {fault.strerror}") from fault
    return f"{out}: signed; {inspection.parse(content, str(out)).signature}"
