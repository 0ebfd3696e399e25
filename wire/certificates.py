"""What is wrong with a certificate, a key or a handshake, in words of the person who has to mend it. Pure.

cryptography is imported where it is used: gateways without TLS start without it.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

PLAIN_PORT, TLS_PORT = 1883, 8883  # as registered for mqtt and secure-mqtt


class TlsFiles(NamedTuple):
    """PEM files of one TLS connection. ca None: the authorities that the system trusts."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Problem(NamedTuple):
    """which: 'ca_file', 'certificate_file' or 'key_file'."""

    which: str
    text: str


class Overheard(ssl.SSLContext):
    """A client's context that remembers why its connection was refused: paho drops the alert after the handshake."""

    fault: ssl.SSLError | None = None


def client_context() -> Overheard:
    """TLS 1.2 or newer, still without authorities and certificate."""
    context = Overheard(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    class Socket(ssl.SSLSocket):
        def recv(self, *arguments: Any) -> bytes:
            try:
                return super().recv(*arguments)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as fault:
                context.fault = fault
                raise

    context.sslsocket_class = Socket
    return context


def judge(ca: bytes | None, certificate: bytes | None, key: bytes | None) -> list[Problem]:
    """What cannot be used at all, whatever the date; None: that file is not given or could not be read."""
    found = []
    for which, pem in (("ca_file", ca), ("certificate_file", certificate)):
        if pem is not None and not _certificates(pem):
            found.append(Problem(which, "holds no certificate: give a PEM file with -----BEGIN CERTIFICATE-----"))
    if key is not None:
        found += _judge_key(key, certificate)
    return found


def _judge_key(key: bytes, certificate: bytes | None) -> list[Problem]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        return [
            Problem(
                "key_file", "is locked by a passphrase, and nobody is there to type it: openssl pkey -in ... -out ..."
            )
        ]
    except ValueError:
        return [Problem("key_file", "holds no private key: give a PEM file with -----BEGIN PRIVATE KEY-----")]
    own = _certificates(certificate or b"")
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if own and own[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        return [Problem("key_file", "is not the key of certificate_file: give the one that it was made with")]
    return []


def _certificates(pem: bytes) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def outdated(pem: bytes, now: datetime) -> str:
    """Why no certificate of the file counts today; '' when one does. A file of authorities may hold old ones too."""
    found = _certificates(pem)
    if any(c.not_valid_before_utc <= now <= c.not_valid_after_utc for c in found):
        return ""
    if not found:
        return "holds no certificate"
    first = found[0]
    if now > first.not_valid_after_utc:
        return f"has expired on {first.not_valid_after_utc:%Y-%m-%d}: put a new one in its place, no restart is needed"
    return f"counts only from {first.not_valid_before_utc:%Y-%m-%d %H:%M}Z; the clock here says {now:%Y-%m-%d %H:%M}Z"


# X509_V_ERR_ codes of OpenSSL's x509_vfy.h.
_NOT_YET, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME = frozenset({62, 64})
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})


def words(fault: ssl.SSLError, host: str, files: TlsFiles) -> str:
    """What a person has to do about a handshake that failed; '' where it may pass by itself."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _refused_by_us(fault, host, files)
    reason = fault.reason or ""
    if reason in _NO_TLS:
        return "no TLS is spoken on this port: mqtts:// wants the broker's TLS port, usually 8883"
    if "ALERT" not in reason:
        return ""
    if files.certificate is None:
        return "the broker wants a certificate of this client: give certificate_file and key_file"
    if "UNKNOWN_CA" in reason:
        return (
            f"the broker does not know who signed {files.certificate}: have it signed by the authority that it trusts"
        )
    if "EXPIRED" in reason:
        return f"for the broker {files.certificate} has expired: put a new one in its place"
    if "REVOKED" in reason:
        return f"{files.certificate} was revoked: have a new one made"
    said = reason.removeprefix("SSLV3_ALERT_").removeprefix("TLSV1_ALERT_").removeprefix("TLSV13_ALERT_")
    return f"the broker refuses {files.certificate} ({said.replace('_', ' ').lower()}): its log says why"


def _refused_by_us(fault: ssl.SSLCertVerificationError, host: str, files: TlsFiles) -> str:
    code = fault.verify_code
    if code == _EXPIRED:
        return "the broker's certificate has expired: put a new one on the broker; or this machine's clock is wrong"
    if code == _NOT_YET:
        return "the broker's certificate does not count yet: set this machine's clock"
    if code in _WRONG_NAME:
        return f"the broker's certificate is not made for {host}: write the name that it bears in url, or have it added"
    if code in _UNKNOWN_ISSUER:
        given = f"{files.ca} did not sign" if files.ca else "no authority that this machine trusts signed"
        return f"{given} the broker's certificate: give the one that did as ca_file"
    return f"the broker's certificate is refused ({fault.verify_message}): give its authority as ca_file"
