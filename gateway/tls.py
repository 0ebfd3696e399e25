"""TLS to the broker: reads the files anew for every session, so that a renewed certificate needs no restart."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from wire.certificates import Overheard, Problem, TlsFiles, client_context, judge, outdated
from wire.errors import UplinkRefused

_OTHERS = 0o007  # permission bits of those who are neither owner nor group


def read_problems(files: TlsFiles) -> list[Problem]:
    """What a person must mend before these files can be used at all."""
    found: list[Problem] = []
    texts = [_read(which, path, found) for which, path in _named(files)]
    if files.key is not None and texts[2] is not None and files.key.stat().st_mode & _OTHERS:
        found.append(Problem("key_file", f"{files.key} can be read by everybody: chmod 640 {files.key}"))
    said = judge(*texts)
    paths = dict(_named(files))
    return [*found, *(Problem(which, f"{paths[which]} {text}") for which, text in said)]


def _named(files: TlsFiles) -> tuple[tuple[str, Path | None], ...]:
    return ("ca_file", files.ca), ("certificate_file", files.certificate), ("key_file", files.key)


def _read(which: str, path: Path | None, found: list[Problem]) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as fault:
        found.append(Problem(which, f"{path} cannot be read ({fault.strerror}): check the path and its rights"))
        return None


def outdated_files(files: TlsFiles) -> list[str]:
    """Which of them do not count today. No reason not to start: the clock may not be set yet."""
    paths = [path for path in (files.ca, files.certificate) if path is not None]
    told = [(path, outdated(path.read_bytes(), datetime.now(UTC))) for path in paths]
    return [f"{path} {why}" for path, why in told if why]


def tls_context(files: TlsFiles) -> Overheard:
    """Ready to connect. Raises UplinkRefused with what is wrong with which file."""
    if problems := [problem.text for problem in read_problems(files)] or outdated_files(files):
        raise UplinkRefused("; ".join(problems))
    context = client_context()
    try:
        if files.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=files.ca)
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as fault:
        given = ", ".join(str(path) for _, path in _named(files) if path is not None)
        raise UplinkRefused(f"TLS cannot use {given}: {fault}") from fault
    return context
