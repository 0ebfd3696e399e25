"""TLS from the host to its broker: reads the files anew for every session, so that renewing needs no restart."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from wire.certificates import Overheard, Problem, TlsFiles, client_context, judge, outdated
from wire.errors import UplinkRefused

_OTHERS = 0o007  # permission bits of those who are neither owner nor group


def read_problems(files: TlsFiles) -> list[str]:
    """`key: what a person must mend` before these files can be used at all."""
    found: list[Problem] = []
    named = {"ca_file": files.ca, "certificate_file": files.certificate, "key_file": files.key}
    texts: dict[str, bytes | None] = dict.fromkeys(named)
    for which, path in named.items():
        try:
            texts[which] = None if path is None else path.read_bytes()
            if which == "key_file" and path is not None and path.stat().st_mode & _OTHERS:
                found.append(Problem(which, f"can be read by everybody: chmod 640 {path}"))
        except OSError as fault:
            found.append(Problem(which, f"cannot be read ({fault.strerror}): check the path and its rights"))
    found += judge(texts["ca_file"], texts["certificate_file"], texts["key_file"])
    return [f"{problem.which}: {named[problem.which]} {problem.text}" for problem in found]


def tls_context(files: TlsFiles) -> Overheard:
    """Ready to connect. Raises UplinkRefused with what is wrong with which file."""
    problems = read_problems(files)
    dated: list[Path] = [path for path in (files.ca, files.certificate) if path is not None and not problems]
    problems += [f"{path} {why}" for path in dated if (why := outdated(path.read_bytes(), datetime.now(UTC)))]
    if problems:
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
        raise UplinkRefused(f"TLS cannot use {', '.join(str(path) for path in files if path)}: {fault}") from fault
    return context
