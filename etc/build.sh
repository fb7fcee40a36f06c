# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Configuring and building, for etc/demo and etc/check. Sourced; wants the tree's directory in $root.

: "${root:?}"

# Or ccache takes no part in what uses a precompiled header.
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime

# configure PRESET DIR
configure() {
  local options=(-DCMAKE_DISABLE_PRECOMPILE_HEADERS=OFF) log
  command -v ccache >/dev/null && options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  mkdir -p "$2"
  log=$2/configure.log
  if ! (cd "$root" && cmake --preset "$1" -B "$2" "${options[@]}") >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
}

# compile DIR [TARGET]: on a terminal ninja shows what it does, elsewhere a line every ten seconds does.
compile() {
  local log=$1/build.log status=0
  # Precompiled headers want the address at which they were written: no randomisation (see CMakeLists.txt).
  local command=(setarch -R cmake --build "$1" --parallel "$(nproc)")
  [[ ${2:-} ]] && command+=(--target "$2")
  if [[ -t 1 ]]; then
    "${command[@]}"
    return
  fi
  "${command[@]}" >"$log" 2>&1 &
  local pid=$! ticks=0
  # shellcheck disable=SC2064  # this pid, now
  trap "kill $pid 2>/dev/null; exit 130" INT TERM HUP
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    ((++ticks % 10)) || echo "   ... building: $(grep -o '^\[[0-9]*/[0-9]*\]' "$log" | tail -n 1)"
  done
  wait "$pid" || status=$?
  trap - INT TERM HUP
  if ((status)); then
    grep -A 20 '^FAILED' "$log" >&2 || tail -n 40 "$log" >&2
  fi
  return "$status"
}
