#!/bin/sh
# Installs the gateway as a service on 64-bit Raspberry Pi OS, Debian or Ubuntu, or takes it off again.
#
#   sudo ./install.sh [PACKAGE.deb] [--bluetooth] [--serial] [--broker] [--dry-run]
#   sudo ./install.sh --uninstall [--purge] [--dry-run]
#
#   PACKAGE.deb   default: the newest one beside this script, or in .cache/deb
#   --bluetooth   give the service the right to use the Bluetooth adapter
#   --serial      give it the serial lines
#   --broker      install mosquitto here too, as the MQTT broker
#   --dry-run     say what would be done, and do nothing
#   --purge       with --uninstall: configuration, sessions, messages and backups go too
#
# It may be run again, with other options or a newer package: what is in place stays, configuration and data are kept.
set -eu

unit=mqtt-sn-gateway.service
examples=/usr/share/doc/mqtt-sn-gateway/examples
drop_ins=/etc/systemd/system/$unit.d
here=$(cd "$(dirname "$0")" && pwd)
package='' bluetooth='' serial='' broker='' dry='' uninstall='' purge=''

usage() { sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//'; }
fail() { echo "install.sh: $*" >&2; exit 1; }
run() {
  echo "+ $*"
  [ -n "$dry" ] || "$@"
}

for word in "$@"; do
  case $word in
    --bluetooth) bluetooth=1 ;;
    --serial) serial=1 ;;
    --broker) broker=1 ;;
    --dry-run) dry=1 ;;
    --uninstall) uninstall=1 ;;
    --purge) purge=1 ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) package=$word ;;
  esac
done

[ -n "$dry" ] || [ "$(id -u)" = 0 ] || fail "needs root: sudo $0 $*"
command -v dpkg >/dev/null || fail "this is no Debian; see the Dockerfile, or npm"
arch=$(dpkg --print-architecture)
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' mqtt-sn-gateway 2>/dev/null)" = installed ]; }

if [ -n "$uninstall" ]; then
  for each in bluetooth serial; do
    [ ! -e "$drop_ins/$each.conf" ] || run rm "$drop_ins/$each.conf"
  done
  if [ -d "$drop_ins" ] && [ -z "$dry" ]; then
    rmdir --ignore-fail-on-non-empty "$drop_ins"
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
  fi
  if [ -n "$purge" ]; then
    run dpkg --purge mqtt-sn-gateway
  elif installed; then
    run dpkg --remove mqtt-sn-gateway
  else
    echo "it is not installed"
  fi
  [ -n "$purge" ] || echo "kept: /etc/mqtt-sn-gateway, /var/lib/mqtt-sn-gateway, /var/lib/mqtt-sn-gateway-backup"
  exit 0
fi

case $arch in
  arm64 | amd64) ;;
  *) fail "this system is $arch; a 64-bit one is needed (Raspberry Pi Imager: \"Raspberry Pi OS (64-bit)\")" ;;
esac
if [ -z "$package" ]; then
  for candidate in "$here"/mqtt-sn-gateway_*_"$arch".deb "$here"/../../.cache/deb/mqtt-sn-gateway_*_"$arch".deb; do
    [ ! -e "$candidate" ] || package=$candidate
  done
fi
[ -n "$package" ] || fail "no package for $arch here; build one: hardware/raspberry-pi/build-deb.sh $arch"
[ -r "$package" ] || fail "cannot read $package"
package=$(cd "$(dirname "$package")" && pwd)/$(basename "$package")
[ "$(dpkg-deb -f "$package" Package Architecture | sed 's/.*: //' | tr '\n' ' ')" = "mqtt-sn-gateway $arch " ] ||
  fail "$package is no mqtt-sn-gateway for $arch"

# Before the gateway, which is started with its broker already there.
if [ -n "$broker" ] && ! command -v mosquitto >/dev/null && [ ! -x /usr/sbin/mosquitto ]; then
  run apt-get install -y --no-install-recommends mosquitto mosquitto-clients
fi

version=$(dpkg-deb -f "$package" Version)
if installed && [ "$(dpkg-query -W -f '${Version}' mqtt-sn-gateway)" = "$version" ]; then
  echo "mqtt-sn-gateway $version is installed already"
else
  run apt-get install -y --no-install-recommends "$package"
fi

changed=''
for each in bluetooth serial; do
  eval "wanted=\$$each"
  [ -n "$wanted" ] || continue
  [ ! -e "$drop_ins/$each.conf" ] || ! cmp -s "$examples/$each.conf" "$drop_ins/$each.conf" || continue
  run install -D -m 644 "$examples/$each.conf" "$drop_ins/$each.conf"
  changed=1
done
if [ -n "$changed" ] && [ -d /run/systemd/system ]; then
  run systemctl daemon-reload
  run systemctl restart "$unit"
fi

echo "configuration: /etc/mqtt-sn-gateway/gateway.config.json; after a change: sudo systemctl restart mqtt-sn-gateway"
echo "state:         systemctl status mqtt-sn-gateway; curl http://127.0.0.1:9464/healthz"
