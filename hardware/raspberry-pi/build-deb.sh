#!/usr/bin/env bash
# Builds the Debian package: the gateway with its own Node and native parts, for a 64-bit Pi or PC.
#
#   hardware/raspberry-pi/build-deb.sh [arm64|amd64] [--out FOLDER] [--version V] [--fast]
#
# Needs npm, dpkg-deb and a C++ compiler: g++ for the own architecture, g++-aarch64-linux-gnu (or g++-x86-64-linux-gnu) for
# the other. --fast: little compression, for tests.
set -euo pipefail

node_version=24.21.0
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/hardware/raspberry-pi/package
arch=$(dpkg --print-architecture)
out=$root/.cache/deb
version=$(sed -n 's/^  "version": "\(.*\)",/\1/p' "$root/package.json")
compression=(-Zxz)

while [ $# -gt 0 ]; do
  case $1 in
    arm64 | amd64) arch=$1 ;;
    --out) out=$(mkdir -p "$2" && cd "$2" && pwd); shift ;;
    --version) version=$2; shift ;;
    --fast) compression=(-Zgzip -z1) ;;
    *) sed -n '2,8p' "$0" >&2; exit 2 ;;
  esac
  shift
done

case $arch in
  arm64) cpu=arm64 prefix=aarch64-linux-gnu ;;
  amd64) cpu=x64 prefix=x86_64-linux-gnu ;;
esac
if [ "$arch" = "$(dpkg --print-architecture)" ]; then prefix=; fi
compiler=${prefix:+$prefix-}g++
command -v "$compiler" >/dev/null || { echo "no $compiler: sudo apt install g++${prefix:+-${prefix//_/-}}" >&2; exit 1; }

# --- Node, as npm has it, with the headers that the native part is compiled against ---
node=$root/.cache/tools/node-$node_version-$cpu
if [ ! -x "$node/bin/node" ]; then
  mkdir -p "$node"
  tarball=$(cd "$node" && npm pack --silent "node-linux-$cpu@$node_version")
  tar xzf "$node/$tarball" -C "$node" --strip-components=1
  rm "$node/$tarball"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
lib=$stage/usr/lib/mqtt-sn-gateway

# --- the gateway, and what it depends on as the lock file says; nothing of theirs is run ---
mkdir -p "$lib/bin" "$stage/DEBIAN"
[ -f "$root/dist/main.js" ] || npm run --silent --prefix "$root" build
cp -r "$root/dist" "$root/package.json" "$root/package-lock.json" "$root/gateway.config.schema.json" "$lib"
(cd "$lib" && npm ci --silent --omit=dev --ignore-scripts --no-audit --no-fund --os=linux --cpu=$cpu --libc=glibc)
rm "$lib/package-lock.json" "$lib/node_modules/.package-lock.json"
cp "$root/gateway.config.json" "$lib"
cp "$node/bin/node" "$lib/bin/node"
strip=${prefix:+$prefix-}strip
if command -v "$strip" >/dev/null; then "$strip" "$lib/bin/node"; fi

# --- Bluetooth's native part: one file, compiled for this Node. The others bring theirs. ---
hci=$lib/node_modules/@abandonware/bluetooth-hci-socket
mkdir -p "$hci/build/Release"
"$compiler" -shared -fPIC -O2 -std=gnu++20 -w -DBUILDING_NODE_EXTENSION -DNODE_GYP_MODULE_NAME=bluetooth_hci_socket \
  -I "$node/include/node" -I "$lib/node_modules/nan" \
  -o "$hci/build/Release/bluetooth_hci_socket.node" "$hci/src/BluetoothHciSocket.cpp"
"$strip" --strip-unneeded "$hci/build/Release/bluetooth_hci_socket.node" 2>/dev/null || true

# --- the gateway's own: many datagrams, and many connections, per system call ---
mkdir "$lib/native" "$lib/scripts"
cp "$root"/native/*.[ch] "$lib/native"
cp "$root/scripts/build-native.mjs" "$lib/scripts"
CC=${compiler%g++}gcc node "$lib/scripts/build-native.mjs" >/dev/null
for part in hci-socket tcp-ring aead udp-batch; do
  [ -f "$lib/native/build/$part.node" ] || { echo "native/$part.c was not compiled" >&2; exit 1; }
done
rm -r "$lib"/native/*.[ch] "$lib/scripts"
"$strip" --strip-unneeded "$lib"/native/build/*.node 2>/dev/null || true

# --- manual page and completion ---
mkdir -p "$stage/usr/share/man/man1" "$stage/usr/share/bash-completion/completions"
gzip -9n <"$root/docs/command/mqtt-sn-gateway.1" >"$stage/usr/share/man/man1/mqtt-sn-gateway.1.gz"
cp "$root/docs/command/mqtt-sn-gateway.bash" "$stage/usr/share/bash-completion/completions/mqtt-sn-gateway"

# --- what never runs on this machine: other systems' binaries, sources, build tools ---
find "$lib/node_modules" -path '*/prebuilds/*' -type d ! -name "linux-$cpu" -prune -exec rm -rf {} +
find "$lib/node_modules" -name '*.musl.node' -delete
find "$lib/node_modules" -type f \( -name '*.cc' -o -name '*.cpp' -o -name '*.c' -o -name '*.h' -o -name '*.gyp' -o -name '*.gypi' \
  -o -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.md' \) -delete
# The other edition of noble is for where the first one cannot be compiled: here it was.
for unused in nan node-gyp node-addon-api .bin classic-level/deps usb/libusb @stoprocent patch-package; do
  rm -rf "${lib:?}/node_modules/$unused"
done
find "$lib/node_modules" \( -name '.*' -o -name '*~' -o -name '*.html' -o -name '*.sh' \) ! -name '.' -prune -exec rm -rf {} +
find "$lib/node_modules" -depth -type d -empty -delete

# --- around it ---
install -D -m 755 "$here/mqtt-sn-gateway" "$stage/usr/bin/mqtt-sn-gateway"
install -D -m 755 "$here/backup" "$lib/backup"
install -D -m 644 -t "$stage/lib/systemd/system" "$here"/systemd/*
install -D -m 644 -t "$stage/usr/lib/sysctl.d" "$here/90-mqtt-sn-gateway.conf"
install -D -m 644 "$here/etc/gateway.config.json" "$stage/etc/mqtt-sn-gateway/gateway.config.json"
mkdir -p "$stage/etc/mqtt-sn-gateway/secrets"
doc=$stage/usr/share/doc/mqtt-sn-gateway
mkdir -p "$doc/examples"
cp "$here"/examples/* "$doc/examples"
cp "$root/hardware/raspberry-pi/README.md" "$doc"
cp -R "$root"/docs/. "$doc"
cat "$here/debian/copyright" "$root/LICENSE" > "$doc/copyright"
cp "$node/LICENSE" "$lib/bin/LICENSE.node"
gzip -9n < "$root/CHANGELOG.md" > "$doc/CHANGELOG.md.gz"
printf 'mqtt-sn-gateway (%s) stable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' "$version" \
  "$(sed -n 's/^Maintainer: //p' "$here/debian/control.in")" "$(date -R)" | gzip -9n > "$doc/changelog.gz"
install -D -m 644 "$here/debian/lintian-overrides" "$stage/usr/share/lintian/overrides/mqtt-sn-gateway"

# --- the package ---
find "$stage" -type d -exec chmod 755 {} +
find "$stage" -type f ! -perm -u+x -exec chmod 644 {} +
find "$lib/node_modules" "$lib/dist" "$lib/native" -type f -exec chmod 644 {} +
cp "$here/debian/conffiles" "$stage/DEBIAN"
for script in postinst prerm postrm; do install -m 755 "$here/debian/$script" "$stage/DEBIAN"; done
size=$(du -sk --exclude=DEBIAN "$stage" | cut -f1)
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" "$here/debian/control.in" > "$stage/DEBIAN/control"
(cd "$stage" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)
mkdir -p "$out"
deb=$out/mqtt-sn-gateway_${version}_$arch.deb
dpkg-deb --root-owner-group "${compression[@]}" --build "$stage" "$deb" >/dev/null
echo "$deb: $(($(stat -c %s "$deb") / 1024)) KiB, installed $size KiB"
