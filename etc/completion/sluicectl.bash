# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Completes sluicectl's commands, options, and the names that the running daemon knows. Source it, or install it as
# sluicectl in bash-completion's directory.

_sluicectl_ports() { sluicectl "${_sluicectl_endpoint[@]}" --timeout 0.5 port list 2>/dev/null | awk 'NR > 1 { print $1 }'; }
_sluicectl_plugins() { sluicectl "${_sluicectl_endpoint[@]}" --timeout 0.5 plugin list 2>/dev/null | awk 'NR > 1 { print $1 }'; }
# The first thousand, as a terminal shows no more.
_sluicectl_ufids() { sluicectl "${_sluicectl_endpoint[@]}" --timeout 0.5 flow dump 2>/dev/null | head -n 1000 | sed -n 's/^ufid:\([-0-9a-f]*\).*/\1/p'; }

_sluicectl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} word i path=""
  local _sluicectl_endpoint=()
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
      --endpoint)
        _sluicectl_endpoint=(--endpoint "${COMP_WORDS[i + 1]}")
        ((i++))
        ;;
      --timeout | --plugin | --option | --isolation | --orphan | --file | --ufid | --priority | --idle-timeout | --hard-timeout | \
        --port | --filter | --in-port | --hex | --actions | --count | --pcap) ((i++)) ;;
      -*) ;;
      *) [[ $path == *" "* ]] || path+=${path:+ }$word ;;
    esac
  done

  local choices=""
  case $previous in
    --endpoint | --file | --pcap)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    --isolation) choices="thread process" ;;
    --orphan) choices="withdraw keep" ;;
    --port | --in-port) choices=$(_sluicectl_ports) ;;
    --plugin) choices=$(_sluicectl_plugins) ;;
    --timeout | --option | --ufid | --priority | --idle-timeout | --hard-timeout | --filter | --hex | --actions | --count)
      return
      ;;
    *)
      case $path in
        "") choices="status port plugin flow monitor packet trace --json --endpoint --timeout --help --version" ;;
        port) choices="add del list" ;;
        "port add"*)
          choices="--plugin --option"
          [[ $current == -* ]] || choices+=" $(ls /sys/class/net)"
          ;;
        "port del"*) choices=$(_sluicectl_ports) ;;
        "port list"*) choices="--details --counters" ;;
        plugin) choices="load unload reload list" ;;
        "plugin load"*)
          choices="xdp rte_flow recirc --isolation --orphan --option"
          [[ $current != */* && $current != .* ]] || choices=$(compgen -f -- "$current")
          ;;
        "plugin unload"*) choices="$(_sluicectl_plugins) --keep" ;;
        "plugin reload"*) choices=$(_sluicectl_plugins) ;;
        "plugin list"*) choices="--details" ;;
        flow) choices="add mod del flush get dump" ;;
        "flow add"* | "flow mod"*) choices="--file --ufid --priority --idle-timeout --hard-timeout" ;;
        "flow del"* | "flow get"*) choices=$(_sluicectl_ufids) ;;
        "flow flush"*) choices="--port" ;;
        "flow dump"*) choices="--port --plugin --filter" ;;
        monitor*)
          choices="flow.add flow.mod flow.del flow.stats flow.offload port.add port.mod port.del port.stats plugin.load \
            plugin.unload plugin.fail upcall refused publisher.gap heartbeat --count --snapshot"
          ;;
        packet) choices="out" ;;
        "packet out"*) choices="--in-port --hex --actions" ;;
        trace*) choices="--pcap --in-port --hex --bytes --ct-state --ct-mark" ;;
      esac
      choices+=" --help --json"
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}
complete -F _sluicectl sluicectl
