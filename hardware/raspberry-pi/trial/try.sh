#!/usr/bin/env bash
# Builds the package and tries it in a booted Debian, of this architecture or, under qemu-user, of the other:
#
#   sudo hardware/raspberry-pi/trial/try.sh amd64|arm64 [--root FOLDER] [--short]
#
# Needs root, debootstrap, systemd-container, and for the other architecture qemu-user-static and its g++. The system has a
# network of its own without anything but loopback. The transcript goes to standard output.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
arch=${1:-$(dpkg --print-architecture)}
folder=$root/.cache/roots/$arch
form=long
shift || true
while [ $# -gt 0 ]; do
  case $1 in
    --root) folder=$2; shift ;;
    --short) form=short ;;
    *) sed -n '4,8p' "$0" >&2; exit 2 ;;
  esac
  shift
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "$arch" != "$(dpkg --print-architecture)" ] && [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
  [ "$arch" = arm64 ] || { echo "only arm64 is tried under qemu" >&2; exit 2; }
  [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
  # Flag F: the emulator is opened now, and needs not be in the other root.
  printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' \
    >/proc/sys/fs/binfmt_misc/register
fi

packages=systemd,systemd-sysv,dbus,adduser,ca-certificates,curl,iproute2,mosquitto,mosquitto-clients,nftables,procps,udev
if [ ! -e "$folder/etc/debian_version" ]; then
  mkdir -p "$(dirname "$folder")"
  debootstrap --arch="$arch" --variant=minbase --include=$packages bookworm "$folder" >&2
fi

"$root/hardware/raspberry-pi/build-deb.sh" "$arch" --out "$work" --fast >&2
mv "$work"/mqtt-sn-gateway_*.deb "$work/new.deb"
# The one before it differs in its number only.
dpkg-deb -R "$work/new.deb" "$work/old"
sed -i 's/^Version: .*/&~old/' "$work/old/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/old" "$work/old.deb" >/dev/null
rm -r "$work/old"
cp "$root"/test/helpers/fixtures/*.pem "$here/inside.sh" "$here/../install.sh" "$work"
cat >"$work/trial.service" <<U
[Unit]
After=multi-user.target mosquitto.service
[Service]
Type=oneshot
ExecStart=/bin/bash /trial/inside.sh /trial $form
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/trial/transcript
StandardError=file:/trial/transcript
U

# A tree of its own that is thrown away, a network of its own, and no word to this machine's systemd.
timeout -k 10 "${TRIAL_SECONDS:-1200}" systemd-nspawn --quiet --directory="$folder" --volatile=overlay --private-network \
  --register=no --keep-unit --boot --machine="trial-$$" --bind="$work:/trial" \
  --bind-ro="$work/trial.service:/etc/systemd/system/trial.service" \
  systemd.wants=trial.service </dev/null >"$work/console" 2>&1 || true
cat "$work/transcript" || tail -30 "$work/console"
grep -q "^TRIAL PASSED" "$work/transcript"
