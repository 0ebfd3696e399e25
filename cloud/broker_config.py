"""`gaugeline cloud broker-config`: mosquitto.conf and its ACL, by which a gateway can speak only for itself.

Source: mosquitto.conf(5), acl_file; Sparkplug B 3.0, chapter 4. A user's name binds group and edge node: `GROUP/NODE`.
`pattern` lines could only bind one of them (`%u` stands for the whole name, and group and node are two levels of a
topic that do not touch), so they serve a broker of one group alone, where the user's name is the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wire.certificates import PLAIN_PORT, TLS_PORT, TlsFiles
from wire.errors import ConfigError
from wire.ids import NodeId, check_id
from wire.topic import NAMESPACE, Topic, state_topic

NODE_SAYS, DEVICE_SAYS = ("NBIRTH", "NDATA", "NDEATH"), ("DBIRTH", "DDATA", "DDEATH")
_LONGEST_NAME = 64  # of a common name: RFC 5280, appendix A.1, ub-common-name


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who may talk. group: every node of this one group, instead of nodes; hosts: their host ids."""

    nodes: tuple[NodeId, ...]
    hosts: tuple[str, ...]
    group: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.group,) if self.group else tuple(sorted({node.group for node in self.nodes}))

    @property
    def users(self) -> tuple[str, ...]:
        """Names of everybody who is known by name."""
        return (*(host_user(host) for host in self.hosts), *(str(node) for node in self.nodes))


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the broker listens. tls: its own files; certificates: clients prove themselves with one, not a password."""

    address: str = "0.0.0.0"  # noqa: S104  # gateways come from outside
    port: int = 0
    tls: TlsFiles | None = None
    certificates: bool = False
    users: tuple[str, ...] = field(default=())

    @property
    def bound(self) -> int:
        return self.port or (PLAIN_PORT if self.tls is None else TLS_PORT)


def host_user(host: str) -> str:
    """No node can be called so: its name has one '/', but no group is called so that its nodes are hosts."""
    return f"host/{host}"


def fleet_of(sites: Iterable[Path], gateways: Iterable[str], hosts: Sequence[str], group: str) -> Fleet:
    """Raises ConfigError with every problem at once."""
    problems: list[str] = []
    nodes: dict[NodeId, None] = {}
    for path in sites:
        _take(problems, lambda p=path: nodes.setdefault(_of_site(p), None))
    for text in gateways:
        _take(problems, lambda t=text: nodes.setdefault(_node(t), None))
    for host in hosts:
        _take(problems, lambda h=host: check_id(h, "host"))
    if group:
        _take(problems, lambda: check_id(group, "group"))
    if group and nodes:
        problems.append("--group lets in every gateway of one group by pattern; leave out --gateway and the site files")
    if not group and not nodes:
        problems.append("whom may the broker let in? Give site files, --gateway GROUP/NODE, or --group GROUP")
    if "host" in {group, *(node.group for node in nodes)}:
        problems.append("no group can be called 'host' here: users of hosts are called host/ID")
    if problems:
        raise ConfigError(problems)
    return Fleet(tuple(nodes), tuple(dict.fromkeys(hosts)), group)


def _take(problems: list[str], action: Any) -> None:
    try:
        action()
    except ConfigError as fault:
        problems.extend(fault.problems)


def _node(text: str) -> NodeId:
    group, slash, node = text.partition("/")
    if not slash:
        raise ConfigError(f"--gateway {text!r}: write it as GROUP/NODE, such as plant-1/gw-1")
    return NodeId(check_id(group, "group"), check_id(node, "gateway"))


def _of_site(path: Path) -> NodeId:
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return NodeId(check_id(str(raw["group"]), "group"), check_id(str(raw["gateway"]), "gateway"))
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read: {fault}") from fault
    except (YAMLError, KeyError, TypeError) as fault:
        raise ConfigError(f"{path}: is no site.yaml with group and gateway") from fault


def acl(fleet: Fleet) -> str:
    """acl_file: whoever is not named here can neither publish nor read anything."""
    lines = [
        "# Made by `gaugeline cloud broker-config`; who is not named here may do nothing.",
        "# mosquitto checks what is published, wills too, against these lines, and what is read when it is delivered.",
    ]
    for host in fleet.hosts:
        lines += ["", f"user {host_user(host)}"]
        lines += [f"topic read {NAMESPACE}/{group}/{said}" for group in fleet.groups for said in _said("+")]
        lines += [f"topic read {NAMESPACE}/STATE/#", f"topic write {state_topic(host)}"]
        for group in fleet.groups:
            lines += [f"topic write {Topic(group, 'NCMD', '+')}", f"topic write {Topic(group, 'DCMD', '+', '+')}"]
    for node in fleet.nodes:
        lines += ["", f"user {node}", *_of_gateway("topic", node.group, node.node)]
    if fleet.group:
        lines += ["", "# %u is the user's name, which is the gateway's: one group only, for it cannot name two levels."]
        lines += _of_gateway("pattern", fleet.group, "%u")
    return "\n".join(lines) + "\n"


def _said(node: str) -> list[str]:
    return [*(f"{kind}/{node}" for kind in NODE_SAYS), *(f"{kind}/{node}/+" for kind in DEVICE_SAYS)]


def _of_gateway(word: str, group: str, node: str) -> list[str]:
    heard = (f"{NAMESPACE}/{group}/NCMD/{node}", f"{NAMESPACE}/{group}/DCMD/{node}/+", f"{NAMESPACE}/STATE/+")
    said = [f"{word} write {NAMESPACE}/{group}/{topic}" for topic in _said(node)]
    return [*said, *(f"{word} read {topic}" for topic in heard)]


def mosquitto_conf(listener: Listener, folder: Path) -> str:
    """folder: where acl and passwords stand on the broker's machine."""
    lines = [
        "# Made by `gaugeline cloud broker-config`. It may stand in /etc/mosquitto/conf.d.",
        f"listener {listener.bound} {listener.address}",
        "# No client can throw another out by calling itself like it; one user is one connection.",
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"acl_file {folder / 'acl'}",
    ]
    tls = listener.tls
    if tls is not None:
        lines += [f"certfile {tls.certificate}", f"keyfile {tls.key}", "tls_version tlsv1.2"]
    if tls is not None and tls.ca is not None:
        lines += [f"cafile {tls.ca}"]
    if listener.certificates:
        lines += [
            "# Who a client is, its certificate says: the common name is the user, GROUP/NODE or host/ID.",
            "require_certificate true",
            "use_identity_as_username true",
        ]
    else:
        lines += [f"password_file {folder / 'passwords'}"]
    lines += [
        "",
        "# What a host that stalls may leave waiting: with the default of 1,000 it loses what it had not read.",
        "max_queued_messages 100000",
        "",
        "# Nothing has to outlive the broker: gateways keep every batch until the host has stored it, sessions are",
        "# clean, and hosts say their STATE anew when they come back. true would only wear the disk.",
        "persistence false",
    ]
    return "\n".join(lines) + "\n"


def check_names(fleet: Fleet) -> None:
    """With certificates a name must fit into a common name. Raises ConfigError."""
    long = [user for user in fleet.users if len(user) > _LONGEST_NAME]
    if long:
        raise ConfigError([f"{user}: longer than the {_LONGEST_NAME} characters of a common name" for user in long])
