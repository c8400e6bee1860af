# Completion of mqtt-sn-gateway for bash. Made from the list of commands by npm run docs.
_mqtt_sn_gateway() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" path="" word words
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
      " start") path="start" ;;
      " check") path="check" ;;
      " doctor") path="doctor" ;;
      " decode") path="decode" ;;
      " replay") path="replay" ;;
      " try-device") path="try-device" ;;
      " demo") path="demo" ;;
      " ble") path="ble" ;;
      "ble scan") path="ble scan" ;;
      "ble check") path="ble check" ;;
      "ble links") path="ble links" ;;
      "ble bonds") path="ble bonds" ;;
      "ble unbond") path="ble unbond" ;;
      "ble forget") path="ble forget" ;;
      " console") path="console" ;;
      "console token") path="console token" ;;
      "console token list") path="console token list" ;;
      "console token add") path="console token add" ;;
      "console token remove") path="console token remove" ;;
      " status") path="status" ;;
      " sessions") path="sessions" ;;
      "sessions list") path="sessions list" ;;
      "sessions show") path="sessions show" ;;
      "sessions drop") path="sessions drop" ;;
      " queue") path="queue" ;;
      "queue depth") path="queue depth" ;;
      "queue show") path="queue show" ;;
      "queue dead") path="queue dead" ;;
      "queue republish") path="queue republish" ;;
      "queue purge") path="queue purge" ;;
      " join") path="join" ;;
      " topic") path="topic" ;;
      "topic list") path="topic list" ;;
      "topic add") path="topic add" ;;
      "topic remove") path="topic remove" ;;
      " device") path="device" ;;
      "device list") path="device list" ;;
      "device add") path="device add" ;;
      "device rotate") path="device rotate" ;;
      "device remove") path="device remove" ;;
      " backup") path="backup" ;;
      " capture") path="capture" ;;
      " restore") path="restore" ;;
      " fleet") path="fleet" ;;
      "fleet status") path="fleet status" ;;
      "fleet drain") path="fleet drain" ;;
      " pub") path="pub" ;;
      " sub") path="sub" ;;
    esac
  done
  case "$path" in
    "") words="start check doctor decode replay try-device demo ble console status sessions queue join topic device backup capture restore fleet pub sub -V --version --version --help" ;;
    "start") words="-c --config --help" ;;
    "check") words="-c --config --export --help" ;;
    "doctor") words="-c --config --json --no-try --bundle --help" ;;
    "decode") words="-r --read -1 --one-line --port --payload --client -c --config --help" ;;
    "replay") words="--to --speed --port --patience --help" ;;
    "try-device") words="--host -p --port --only -W --timeout -d --debug --help" ;;
    "demo") words="-p --port --seconds --log --help" ;;
    "ble") words="scan check links bonds unbond forget --help" ;;
    "ble scan") words="-c --config -s --seconds --json --help" ;;
    "ble check") words="-c --config --help" ;;
    "ble links") words="-c --config --json --help" ;;
    "ble bonds") words="-c --config --json --help" ;;
    "ble unbond") words="-c --config --help" ;;
    "ble forget") words="-c --config --help" ;;
    "console") words="token -c --config --viewer --lan --anywhere --help" ;;
    "console token") words="list add remove --help" ;;
    "console token list") words="-c --config --help" ;;
    "console token add") words="--role -c --config --help" ;;
    "console token remove") words="-c --config --help" ;;
    "status") words="-c --config --url --token-file --json --help" ;;
    "sessions") words="list show drop --help" ;;
    "sessions list") words="-c --config --url --token-file --json --state --match --sort --watch --help" ;;
    "sessions show") words="-c --config --url --token-file --help" ;;
    "sessions drop") words="-c --config --url --token-file --help" ;;
    "queue") words="depth show dead republish purge --help" ;;
    "queue depth") words="-c --config --url --token-file --json --help" ;;
    "queue show") words="-c --config --url --token-file --client --json --help" ;;
    "queue dead") words="-c --config --url --token-file --json --help" ;;
    "queue republish") words="-c --config --url --token-file --help" ;;
    "queue purge") words="-c --config --url --token-file --client --topic --help" ;;
    "join") words="--for -c --config --help" ;;
    "topic") words="list add remove --help" ;;
    "topic list") words="-c --config --url --token-file --help" ;;
    "topic add") words="-c --config --url --token-file --client --help" ;;
    "topic remove") words="-c --config --url --token-file --client --help" ;;
    "device") words="list add rotate remove --help" ;;
    "device list") words="-c --config --help" ;;
    "device add") words="-c --config --help" ;;
    "device rotate") words="-c --config --help" ;;
    "device remove") words="-c --config --help" ;;
    "backup") words="-c --config --help" ;;
    "capture") words="-w --write --client --transport --no-payload -c --config --help" ;;
    "restore") words="-c --config --help" ;;
    "fleet") words="status drain --help" ;;
    "fleet status") words="-c --config --url --token-file --json --shards --help" ;;
    "fleet drain") words="-c --config --url --token-file --help" ;;
    "pub") words="-h --host -p --port -i --id -c --disable-clean-session -k --keepalive --will-topic --will-payload --will-qos --will-retain --retry-interval --psk-identity --psk-file --psk-variable --cert-file --key-file --ca-file --gateway-name --forwarder-node -d --debug -t --topic --predefined --short -m --message -f --file -s --stdin -l --stdin-line -n --null-message -q --qos -r --retain --repeat --repeat-delay --help" ;;
    "sub") words="-h --host -p --port -i --id -c --disable-clean-session -k --keepalive --will-topic --will-payload --will-qos --will-retain --retry-interval --psk-identity --psk-file --psk-variable --cert-file --key-file --ca-file --gateway-name --forwarder-node -d --debug -t --topic --predefined --short -q --qos --sleep --wakes -C --count -W --timeout -v --verbose --hex --help" ;;
  esac
  # Behind an option stands its value: most are files.
  if [[ "$previous" != -* || "$current" == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
  if [[ ${#COMPREPLY[@]} -eq 0 ]]; then mapfile -t COMPREPLY < <(compgen -f -- "$current"); fi
}
complete -F _mqtt_sn_gateway mqtt-sn-gateway
