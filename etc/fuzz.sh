# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Runs the fuzz targets of tests/fuzz. Sourced by etc/check; wants the tree's directory in $root.

: "${root:?}"

# fuzz_one DIR NAME SECONDS: what is new and interesting goes to DIR/corpus/NAME, what fails to DIR/findings.
fuzz_one() {
  local dir=$1 name=$2 seconds=$3 log options
  log=$dir/findings/$name.log
  mkdir -p "$dir/corpus/$name" "$dir/findings"
  options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
    -artifact_prefix="$dir/findings/$name-")
  [[ -f $root/tests/fuzz/dict/$name.dict ]] && options+=(-dict="$root/tests/fuzz/dict/$name.dict")
  # What AddressSanitizer would remember for its reports is most of what a run of the core takes.
  if ASAN_OPTIONS=${ASAN_OPTIONS:-malloc_context_size=4:quarantine_size_mb=16} "$dir/bin/fuzz_$name" "${options[@]}" "$dir/corpus/$name" "$root/tests/fuzz/corpus/$name" >"$log" 2>&1; then
    echo "   $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
  else
    grep -E 'ERROR|does not hold|runtime error|SUMMARY|Test unit written' "$log" || tail -n 20 "$log"
    echo "   $name: FAILED, see $log"
    return 1
  fi
}

# fuzz_all DIR MINUTES: shares the time out among the targets; returns how many failed.
fuzz_all() {
  local dir=$1 names=() name seconds failed=0
  for name in "$dir"/bin/fuzz_*; do names+=("${name##*/fuzz_}"); done
  seconds=$(($2 * 60 * $(nproc) / ${#names[@]}))
  ((seconds >= 1)) || seconds=1
  for name in "${names[@]}"; do
    while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || ((++failed)); done
    fuzz_one "$dir" "$name" "$seconds" &
  done
  while [[ $(jobs -p) ]]; do wait -n || ((++failed)); done
  return "$failed"
}
