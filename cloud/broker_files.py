"""Writes what broker_config made: configuration, ACL, hashed passwords, and a file with each user's password."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path

from cloud.broker_config import Fleet, Listener, acl, mosquitto_conf
from wire.errors import ConfigError

# mosquitto's own number of rounds. More would only slow the broker down: it hashes at every CONNECT, one after the
# other, and nobody guesses 160 random bits.
_ROUNDS = 101


def hashed(password: str, salt: bytes) -> str:
    """As mosquitto_passwd writes it: PBKDF2 with SHA-512. salt: 12 bytes."""
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 64)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


def write(fleet: Fleet, listener: Listener, folder: Path, installed: Path, force: bool) -> list[Path]:
    """The files that were written. A user who has a password already keeps it. Raises ConfigError."""
    texts = {"mosquitto.conf": mosquitto_conf(listener, installed), "acl": acl(fleet)}
    if not listener.certificates:
        texts["passwords"] = ""
    there = [str(folder / name) for name in texts if (folder / name).exists()]
    if there and not force:
        raise ConfigError(f"{', '.join(there)}: there already; --force writes anew and keeps the passwords")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made: list[Path] = []
        if not listener.certificates:
            known = {user: _password(folder / "secrets", user, made) for user in fleet.users}
            texts["passwords"] = "".join(f"{u}:{hashed(p, secrets.token_bytes(12))}\n" for u, p in known.items())
        for name, text in texts.items():
            _replace(folder / name, text, 0o600 if name == "passwords" else 0o644)
            made.append(folder / name)
    except OSError as fault:
        raise ConfigError(f"{fault.filename or folder}: {fault.strerror}; give another --output") from fault
    return made


def secret_file(folder: Path, user: str) -> Path:
    """Where the password of a user stands, to be carried to its machine."""
    return folder / f"{user}.password"


def _password(folder: Path, user: str, made: list[Path]) -> str:
    file = secret_file(folder, user)
    if file.exists():
        return file.read_text(encoding="utf-8").strip()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = secrets.token_urlsafe(20)
    _replace(file, password + "\n", 0o600)
    made.append(file)
    return password


def _replace(file: Path, text: str, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    half = file.with_name(file.name + ".new")
    half.unlink(missing_ok=True)
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    half.replace(file)
