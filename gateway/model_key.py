"""The key that signs models: where site.yaml names one, only models that it has signed are run.

An Ed25519 public key in PEM; a signature is `ed25519:` and base64 of 64 bytes, over the seal of the model's file.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from models.session import Verify
from wire.errors import ConfigError

_KIND = "ed25519:"


def verifier(path: Path) -> Verify:
    """Raises ConfigError for a file that holds no such key."""
    # Gateways without signed models start without cryptography.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except ValueError as fault:
        raise ConfigError(f"{path}: holds no public key: give a PEM file with -----BEGIN PUBLIC KEY-----") from fault
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: must be an Ed25519 key (openssl genpkey -algorithm ed25519)")

    def verify(signed: bytes, signature: str) -> bool:
        if not signature.startswith(_KIND):
            return False
        try:
            key.verify(base64.b64decode(signature.removeprefix(_KIND), validate=True), signed)
        except (InvalidSignature, binascii.Error):
            return False
        return True

    return verify
