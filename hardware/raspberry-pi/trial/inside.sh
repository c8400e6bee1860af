#!/bin/bash
# What a person does on a Pi, in order, as root in a booted system. Ends with "TRIAL PASSED", or with what failed.
# $1: where the packages are, and the certificates for the broker. $2: "short" leaves out what takes many starts.
set -u
trial=$1
form=${2:-long}
config=/etc/mqtt-sn-gateway/gateway.config.json
unit=mqtt-sn-gateway.service
began=$(date +%s)

step() { echo; echo "## $*"; }
run() { echo "\$ $*"; "$@" 2>&1 | cut -c1-200; local rc=${PIPESTATUS[0]}; [ "$rc" -eq 0 ] || fail "ended with $rc: $*"; }
fail() { echo "TRIAL FAILED after $(($(date +%s) - began)) s: $*"; journalctl -u $unit -u mqtt-sn-gateway-backup --no-pager -n 40 | cut -c1-220; exit 1; }
until_true() { # what, seconds, command...
  local what=$1 left=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1)); [ $left -gt 0 ] || fail "waited in vain: $what"
    sleep 1
  done
}
healthy() { curl -sf http://127.0.0.1:9464/healthz; }
active() { systemctl is-active --quiet $unit; }
restarted() { [ "$(systemctl show -p MainPID --value $unit)" != "$1" ] && active; }
has() { grep -q -- "$1" "$2"; }
main_pid() { systemctl show -p MainPID --value $unit; }

there_and_back() { # TEXT [mosquitto options]: device -> broker, and broker -> device, QoS 1
  local text=$1; shift
  mosquitto_sub "$@" -t 'trial/up' -q 1 -C 1 >/tmp/at-broker 2>&1 & local at_broker=$!
  mqtt-sn-gateway sub -i listener -t 'trial/down' -q 1 -C 1 >/tmp/at-device 2>/tmp/at-device.log & local at_device=$!
  until_true "a subscribed device" 60 has subscribed /tmp/at-device.log
  sleep 2
  kill -0 $at_broker || fail "the observer: $(cat /tmp/at-broker)"
  echo "\$ mqtt-sn-gateway pub -t trial/up -m '$text up' -q 1"
  mqtt-sn-gateway pub -i talker -t trial/up -m "$text up" -q 1 || fail "the device's publication"
  until_true "the message at the broker" 60 has "$text up" /tmp/at-broker
  mosquitto_pub "$@" -t trial/down -m "$text down" -q 1 || fail "the broker's publication"
  until_true "the message at the device" 60 has "$text down" /tmp/at-device
  wait $at_broker $at_device
  echo "broker has: $(cat /tmp/at-broker)"
  echo "device has: $(cat /tmp/at-device)"
}

figures() {
  local pid; pid=$(main_pid)
  echo "memory: $(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MiB resident; runs as $(ps -o user= -p "$pid")"
}

# A system that debootstrap made has no names; a Pi has them.
grep -qs localhost /etc/hosts || echo "127.0.0.1 localhost" >>/etc/hosts

step "System"
. /etc/os-release; echo "$PRETTY_NAME, $(dpkg --print-architecture), $(systemctl --version | head -1)"
until_true "mosquitto" 60 systemctl is-active --quiet mosquitto

step "Install"
t=$(date +%s)
run sh "$trial/install.sh" "$trial/old.deb" --dry-run --bluetooth
[ ! -e $config ] || fail "--dry-run did something"
run sh "$trial/install.sh" "$trial/old.deb"
until_true "an active service" 120 active
until_true "health" 120 healthy
echo "installed and healthy after $(($(date +%s) - t)) s"
run systemctl --no-pager -n 0 status $unit
run mqtt-sn-gateway check
run curl -s http://127.0.0.1:9464/healthz; echo
run ss -lnptu
figures
pid=$(main_pid)
run sh "$trial/install.sh" "$trial/old.deb"
[ "$pid" = "$(main_pid)" ] || fail "installed twice, it was restarted"

step "First message"
there_and_back first

step "Hardening, as systemd counts it"
run systemd-analyze verify $unit
systemd-analyze --no-pager security $unit 2>&1 | tail -1

step "A device with a persistent session that goes to sleep"
mqtt-sn-gateway sub -i sleeper -k 60 -t 'trial/sleep' -q 1 --sleep 600 >/tmp/sleeper 2>/tmp/sleeper.log & sleeper=$!
until_true "a sleeper" 60 sh -c "mqtt-sn-gateway sessions | grep -q 'sleeper.*asleep'"
kill -9 $sleeper
run mosquitto_pub -t trial/sleep -m "kept for the sleeper" -q 1
run mqtt-sn-gateway sessions

if [ "$form" = long ]; then
step "kill -9, and a gateway that stands still"
pid=$(main_pid)
run kill -9 "$pid"
until_true "a new run" 60 restarted "$pid"
mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=20\n' >/etc/systemd/system/$unit.d/trial.conf
run systemctl daemon-reload
run systemctl restart $unit
pid=$(main_pid)
run kill -STOP "$pid"
until_true "the watchdog" 90 restarted "$pid"
journalctl -u $unit --no-pager | grep -i "watchdog" | tail -2
rm /etc/systemd/system/$unit.d/trial.conf
run systemctl daemon-reload
run systemctl restart $unit
until_true "health" 60 healthy
run mqtt-sn-gateway sessions

fi

step "Backup"
run systemctl start mqtt-sn-gateway-backup.service
run ls -l /var/lib/mqtt-sn-gateway-backup
run systemctl --no-pager list-timers mqtt-sn-gateway-backup.timer

step "Upgrade: configuration and data stay"
sed -i 's/"port": 1883/"port": 1885/' $config
run sh "$trial/install.sh" "$trial/new.deb"
until_true "health" 120 healthy
run dpkg-query -W mqtt-sn-gateway
has 1885 $config || fail "the changed configuration was not kept"
mqtt-sn-gateway sessions | grep sleeper || fail "the sleeper is gone"
ss -lnu | grep -q :1885 || fail "it does not serve what the configuration says"
sed -i 's/"port": 1885/"port": 1883/' $config
run systemctl restart $unit
until_true "health" 60 healthy

if [ "$form" = long ]; then
step "Restore"
run systemctl stop $unit
run mv /var/lib/mqtt-sn-gateway /var/lib/mqtt-sn-gateway.before
run install -d -o mqtt-sn-gateway -g mqtt-sn-gateway -m 750 /var/lib/mqtt-sn-gateway
run runuser -u mqtt-sn-gateway -- mqtt-sn-gateway restore "$(ls /var/lib/mqtt-sn-gateway-backup/*.backup)"
run systemctl start $unit
until_true "health" 60 healthy
mqtt-sn-gateway sessions | grep sleeper || fail "the sleeper is gone"

step "A broker with TLS and a password"
run install -m 640 -g mosquitto "$trial/server.pem" "$trial/server-key.pem" /etc/mosquitto/certs
run mosquitto_passwd -b -c /etc/mosquitto/passwd barn secret
chown mosquitto /etc/mosquitto/passwd
cat >/etc/mosquitto/conf.d/tls.conf <<C
listener 8883
certfile /etc/mosquitto/certs/server.pem
keyfile /etc/mosquitto/certs/server-key.pem
password_file /etc/mosquitto/passwd
allow_anonymous false
C
run systemctl restart mosquitto
install -m 644 "$trial/ca.pem" /etc/mqtt-sn-gateway/secrets/ca.pem
printf secret | run install -m 640 -g mqtt-sn-gateway /dev/stdin /etc/mqtt-sn-gateway/secrets/broker-password
cat >$config <<C
{
  "transports": [{ "type": "udp", "host": "0.0.0.0", "port": 1883 }, { "type": "ble" }],
  "upstream": {
    "url": "mqtts://localhost:8883",
    "protocol": "5",
    "username": "barn",
    "password": { "file": "secrets/broker-password" },
    "tls": { "ca": "secrets/ca.pem" }
  },
  "store": { "folder": "/var/lib/mqtt-sn-gateway" }
}
C
run mqtt-sn-gateway check
run systemctl restart $unit
run sh "$trial/install.sh" "$trial/new.deb" --bluetooth
until_true "health" 60 healthy
there_and_back tls -h localhost -p 8883 --cafile "$trial/ca.pem" -u barn -P secret
grep CapEff "/proc/$(main_pid)/status"
echo '$ mqtt-sn-gateway ble check'; mqtt-sn-gateway ble check || true
journalctl -u $unit --no-pager | grep -o '"msg":"ble[^"]*"' | tail -1
figures

step "A secret that only root can read"
printf secret | run install -m 600 /dev/stdin /etc/mqtt-sn-gateway/secrets/broker-password
run install -D -m 644 /usr/share/doc/mqtt-sn-gateway/examples/credentials.conf /etc/systemd/system/$unit.d/credentials.conf
sed -i 's#secrets/broker-password#/run/credentials/mqtt-sn-gateway.service/broker-password#' $config
run systemctl daemon-reload
run systemctl restart $unit
until_true "health" 60 healthy

step "Looking at it"
run systemctl reload $unit
sleep 2
journalctl -u $unit -n 50 -o cat | grep SIGHUP || fail "it did not read its configuration again"
run mqtt-sn-gateway queue
curl -s http://127.0.0.1:9464/metrics | grep -c dropped

step "The other files"
run nft -c -f /usr/share/doc/mqtt-sn-gateway/examples/nftables.conf
run sh "$trial/install.sh" "$trial/new.deb" --serial
run install -D -m 644 /usr/share/doc/mqtt-sn-gateway/examples/journald.conf /etc/systemd/journald.conf.d/mqtt-sn-gateway.conf
run systemctl restart systemd-journald
run systemctl daemon-reload
run systemctl restart $unit
until_true "health" 60 healthy

# Back to a secret in a file, for what follows.
rm /etc/systemd/system/$unit.d/credentials.conf
sed -i 's#/run/credentials/mqtt-sn-gateway.service/##; s#"broker-password#"secrets/broker-password#' $config
chgrp mqtt-sn-gateway /etc/mqtt-sn-gateway/secrets/broker-password
chmod 640 /etc/mqtt-sn-gateway/secrets/broker-password
fi

step "Remove: configuration and data stay"
run sh "$trial/install.sh" --uninstall
active && fail "it still runs"
[ -f $config ] && [ -d /var/lib/mqtt-sn-gateway ] || fail "configuration or data are gone"
run dpkg -i "$trial/new.deb"
until_true "health" 120 healthy
mqtt-sn-gateway sessions | grep sleeper || fail "the sleeper is gone"

step "Purge: nothing stays"
run sh "$trial/install.sh" --uninstall --purge
for left in /etc/mqtt-sn-gateway /var/lib/mqtt-sn-gateway /var/lib/mqtt-sn-gateway-backup /usr/lib/mqtt-sn-gateway \
  /etc/systemd/system/$unit.d; do
  [ ! -e $left ] || fail "$left is still there"
done
getent passwd mqtt-sn-gateway && fail "the user is still there"

echo
echo "TRIAL PASSED in $(($(date +%s) - began)) s"
