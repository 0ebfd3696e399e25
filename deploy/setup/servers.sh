#!/usr/bin/env bash
# Brings the servers that the tests start themselves, mosquitto, InfluxDB, VictoriaMetrics (which takes InfluxDB 2's
# writes), PostgreSQL and Chromium, and foreign Modbus devices to test against (libmodbus, which a test compiles a slave
# with, and mbpoll), strace, with which tests see what was synced to the disk before it was sent, from Debian's packages.
# Only what is missing is installed. Their services are masked first, so that nothing runs on this machine
# afterwards but what the tests start on free ports of 127.0.0.1 and end again.
set -euo pipefail

missing=()
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
command -v influxd >/dev/null || missing+=(influxdb)
compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || command -v postgres >/dev/null || missing+=(postgresql)
command -v victoria-metrics >/dev/null || missing+=(victoria-metrics)
command -v chromium >/dev/null || missing+=(chromium)
[ -e /usr/include/modbus/modbus.h ] || missing+=(libmodbus-dev)
command -v mbpoll >/dev/null || missing+=(mbpoll)
command -v strace >/dev/null || missing+=(strace)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
# Playwright's own driver is linked against it; a minimal Debian has it not.
ldconfig -p 2>/dev/null | grep -q 'libatomic\.so\.1' || [ -e /usr/lib/$(uname -m)-linux-gnu/libatomic.so.1 ] || missing+=(libatomic1)
[ ${#missing[@]} -eq 0 ] && exit 0

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v apt-get >/dev/null; then
  say "these programs are missing and this is no Debian machine: ${missing[*]}"
  say "install them by hand so that mosquitto, influxd (InfluxDB 1.x), victoria-metrics, postgres and initdb, chromium, mbpoll, strace and gcc are on the PATH"
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    say "installing ${missing[*]} needs root, and there is no sudo here; run this once as root:"
    say "  apt-get install ${missing[*]}"
    exit 1
  fi
  as_root=(sudo)
fi

say "installing ${missing[*]} from Debian's packages (their services stay masked)"
if [ -d /run/systemd/system ]; then
  for package in "${missing[@]}"; do
    case "$package" in mosquitto | influxdb | victoria-metrics | postgresql) ;; *) continue ;; esac
    "${as_root[@]}" systemctl mask "$package.service" >/dev/null 2>&1 || true
  done
  say "to use mosquitto, influxdb, victoria-metrics or postgresql as a service later: systemctl unmask NAME && systemctl enable --now NAME"
fi
# Also where systemd is not running (containers), the packages' scripts must start nothing.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update -q &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  say "apt-get could not install ${missing[*]}; the whole output is in $log"
  exit 1
fi
rm -f "$log"
