"""The options of `gaugeline cloud broker-config`, and what it answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cloud.broker_config import Fleet, Listener, acl, check_names, fleet_of, host_user, mosquitto_conf
from cloud.broker_files import secret_file, write
from cloud.config import parse_http
from wire.certificates import TlsFiles
from wire.errors import ConfigError

ABOUT = """\
Makes the configuration of a mosquitto broker for a fleet. A gateway may publish only as itself, and read only its own
commands and the hosts' STATE; only hosts publish commands; nobody else may do anything.

  gaugeline cloud broker-config plant-1/site.yaml plant-2/site.yaml --output broker
      mosquitto.conf, acl, passwords, and secrets/GROUP/NODE.password to carry to each gateway, whose site.yaml says
      broker: {url: ..., username: GROUP/NODE, password_file: ...}; the host is host/gaugeline
  gaugeline cloud broker-config --gateway plant-1/gw-1 --auth certificate --ca ca.crt --certificate b.crt --key b.key
      clients prove who they are with a certificate whose common name is GROUP/NODE or host/ID
  gaugeline cloud broker-config --group plant-1 --auth certificate --ca ca.crt --certificate b.crt --key b.key
      any gateway of this one group, by pattern: its user is NODE

Without --output the configuration and the ACL are printed. Run again with --force for more gateways: passwords stay.
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """command: add_parser of the sub-commands."""
    parser = command(
        "broker-config",
        help="mosquitto.conf and ACL for a fleet",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sites", nargs="*", type=Path, metavar="SITE", help="site.yaml of a gateway that may connect")
    parser.add_argument("--gateway", action="append", default=[], metavar="GROUP/NODE", help="one more gateway")
    parser.add_argument("--group", default="", help="every gateway of this one group, by pattern")
    parser.add_argument("--host", action="append", metavar="ID", help="a host's id (gaugeline)")
    parser.add_argument("--auth", choices=("password", "certificate"), default="password", help="(password)")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="who signed the clients' certificates")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="the broker's certificate: with TLS")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the broker's key")
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="(0.0.0.0:1883, with TLS 0.0.0.0:8883)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (standard output)")
    parser.add_argument("--installed-at", type=Path, metavar="FOLDER", help="where the files will stand (FOLDER)")
    parser.add_argument("--force", action="store_true", help="write over what stands there; passwords stay")


def answer(arguments: argparse.Namespace) -> str:
    """What to print. Raises ConfigError."""
    hosts = arguments.host or ["gaugeline"]
    fleet = fleet_of(arguments.sites, arguments.gateway, hosts, arguments.group)
    listener = _listener(arguments)
    if listener.certificates:
        check_names(fleet)
    elif fleet.group and arguments.output is not None:
        raise ConfigError(
            "--group knows no names to make passwords for: use --auth certificate, or name each --gateway"
        )
    if arguments.output is None:
        folder = arguments.installed_at or Path("/etc/mosquitto")
        return f"{mosquitto_conf(listener, folder)}\n# {folder / 'acl'}\n{acl(fleet)}"
    installed = (arguments.installed_at or arguments.output).absolute()
    made = write(fleet, listener, arguments.output, installed, arguments.force)
    return "\n".join([*(f"written: {path}" for path in made), *_next(fleet, listener, arguments.output)])


def _listener(arguments: argparse.Namespace) -> Listener:
    certificates = arguments.auth == "certificate"
    if (arguments.certificate is None) != (arguments.key is None):
        raise ConfigError("--certificate and --key need each other: the broker's own certificate and its key")
    if certificates and (arguments.certificate is None or arguments.ca is None):
        raise ConfigError("--auth certificate needs --ca, --certificate and --key of the broker")
    tls = None
    if arguments.certificate is not None:
        ca = arguments.ca.absolute() if arguments.ca is not None else None
        tls = TlsFiles(ca, arguments.certificate.absolute(), arguments.key.absolute())
    address, port = parse_http(arguments.listen) if arguments.listen else ("0.0.0.0", 0)  # noqa: S104
    return Listener(address, port, tls, certificates)


def _next(fleet: Fleet, listener: Listener, folder: Path) -> list[str]:
    url = f"{'mqtt' if listener.tls is None else 'mqtts'}://BROKER:{listener.bound}"
    found = [f"start it: mosquitto -c {folder / 'mosquitto.conf'}  (its user must be able to read these files)"]
    for user in fleet.users if not listener.certificates else ():
        secret = secret_file(folder / "secrets", user)
        found.append(f"broker: {{url: {url}, username: {user}, password_file: ...}} with {secret}")
    if listener.certificates:
        names = "NODE" if fleet.group else "GROUP/NODE"
        found.append(f"common names: {names} for gateways, {', '.join(host_user(h) for h in fleet.hosts)} for hosts")
    elif listener.tls is None:
        found.append("without TLS (--certificate, --key) passwords and values can be read on the way")
    return found
