"""`broker:` of site.yaml: one address, one mapping, or a list of them that is gone through in turn."""

from __future__ import annotations

from urllib.parse import urlsplit

from gateway.config.convert import Broker
from gateway.config.site import BrokerConfig
from gateway.config.yaml_lines import Loc, YamlFile
from gateway.tls import read_problems
from wire.certificates import PLAIN_PORT, TLS_PORT, TlsFiles


def brokers(file: YamlFile) -> tuple[Broker, ...]:
    """Those that can be used, in their order; problems of the others are told."""
    if not file.given(("broker",)):
        return ()  # told with the other missing keys
    given = file.data["broker"]
    if not isinstance(given, list):
        found = [_broker(file, ("broker",), given)]
    else:
        found = [_broker(file, ("broker", i), entry) for i, entry in enumerate(given)]
        if not given:
            file.problem(("broker",), "must name a broker such as mqtt://192.168.1.10")
    places: set[tuple[str, int]] = set()
    for i, broker in enumerate(found):
        if broker is not None and (broker.host, broker.port) in places:
            file.problem(("broker", i), "the same broker stands here twice")
        places |= {(broker.host, broker.port)} if broker is not None else set()
    return tuple(broker for broker in found if broker is not None)


def check_hosts(file: YamlFile) -> None:
    """Who confirms, and whom the gateway waits for, fit each other."""
    hosts, confirms = file.data.get("hosts"), file.data.get("confirm") != "none"
    if confirms and hosts == []:
        file.problem(("hosts",), "must name the host that confirms; only with confirm: none may it be empty")
    if not confirms and isinstance(hosts, list) and len(hosts) > 1:
        file.problem(("hosts",), "with confirm: none only the primary host is named", shown=False)


def _broker(file: YamlFile, loc: Loc, given: object) -> Broker | None:
    short = isinstance(given, str)
    broker = file.validated(BrokerConfig, loc, {"url": given} if short else given)
    if broker is None:
        return None
    password = _password(file, loc, broker)
    at: Loc = loc if short else (*loc, "url")
    try:
        url = urlsplit(broker.url)
        host, port = url.hostname, url.port
    except ValueError as fault:
        file.problem(at, f"not an address: {fault}")
        return None
    if url.scheme not in ("mqtt", "mqtts") or not host:
        file.problem(at, "must be mqtt://HOST or mqtt://HOST:PORT, with TLS mqtts://HOST")
        return None
    if url.username or url.password:
        file.problem(at, "user and password do not stand in the address: use username and password_file", shown=False)
        return None
    secure = url.scheme == "mqtts"
    tls = _tls(file, loc, broker, secure)
    port = port or (TLS_PORT if secure else PLAIN_PORT)
    return Broker(host, port, broker.username, password, broker.keepalive_s, tls, broker.host_wait_s)


def _password(file: YamlFile, loc: Loc, broker: BrokerConfig) -> str | None:
    if broker.password_file is None:
        return None
    try:
        password = (file.path.parent / broker.password_file).read_text(encoding="utf-8").strip()
    except OSError as fault:
        file.problem((*loc, "password_file"), f"cannot be read: {fault.strerror}")
        return None
    except UnicodeDecodeError:
        file.problem((*loc, "password_file"), "is not text: one line with the password is wanted")
        return None
    if not password:
        file.problem((*loc, "password_file"), "is empty: one line with the password is wanted")
    if broker.username is None:
        file.problem((*loc, "username"), "is missing: a password needs one", shown=False)
    return password


def _tls(file: YamlFile, loc: Loc, broker: BrokerConfig, secure: bool) -> TlsFiles | None:
    named = {key: getattr(broker, key) for key in ("ca_file", "certificate_file", "key_file")}
    given = [key for key, name in named.items() if name is not None]
    if not secure:
        for key in given:
            file.problem((*loc, key), "is only for TLS: write url as mqtts://HOST", shown=False)
        return None
    for key, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
        if key in given and other not in given:
            file.problem((*loc, other), f"is missing: {key} needs it", shown=False)
    folder = file.path.parent
    files = TlsFiles(*(None if name is None else folder / name for name in named.values()))
    for problem in read_problems(files):
        file.problem((*loc, problem.which), problem.text, shown=False)
    return files
