# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What etc/check lint looks at. Sourced; wants the tree's directory in $root.

: "${root:?}"

# sources PATTERN...: files of the tree, tracked or new.
sources() {
  (cd "$root" && git -c safe.directory="$root" ls-files --cached --others --exclude-standard -- "$@" | while read -r file; do
    [[ -f $file ]] && echo "$file"
  done)
}

lint_clang_format() {
  sources '*.cpp' '*.h' '*.c' | (cd "$root" && xargs clang-format --dry-run -Werror)
}

lint_shellcheck() {
  (cd "$root" && { sources '*.sh'; grep -rlE --exclude-dir='build*' '^#!/bin/(ba)?sh' etc tests .ci; } | sort -u |
    xargs shellcheck -x)
}

lint_pyflakes() {
  (cd "$root" && { sources '*.py'; grep -rlE --exclude-dir='build*' '^#!/usr/bin/python3' etc tests bus; } | sort -u |
    xargs pyflakes3)
}

# Over the files of the release build's compile_commands.json. Takes long: what was clean and has not changed since, nor
# any header, is not looked at again.
lint_clang_tidy() {
  local dir stamps newest file status=0 todo=()
  dir=$(build_dir release)
  [[ -f $dir/compile_commands.json ]] || configure release "$dir" || return 1
  compile "$dir" sluice || return 1  # generated headers
  stamps=$dir/lint
  mkdir -p "$stamps"
  # Without what only GCC knows: some flags, and its precompiled headers.
  sed -E 's/-fno-gnu-unique|-Wno-restrict|-Winvalid-pch|-include [^ ]*cmake_pch\.hxx//g' "$dir/compile_commands.json" >"$stamps/compile_commands.json"
  newest=$(cd "$root" && sources '*.h' '*.def' '*.proto' .clang-tidy | xargs ls -t | head -n 1)
  while read -r file; do
    local stamp=$stamps/${file//\//_}
    if [[ ! $stamp -nt $root/$file || ! $stamp -nt $root/$newest ]]; then
      grep -q "\"file\": \"$root/$file\"" "$dir/compile_commands.json" && todo+=("$file")
    fi
  done < <(sources 'bus/*.cpp' 'core/*.cpp' 'plugins/*.cpp')
  echo "   clang-tidy: ${#todo[@]} files"
  ((${#todo[@]})) || return 0
  # shellcheck disable=SC2016  # expanded by the inner shell
  printf '%s\n' "${todo[@]}" | (cd "$root" && STAMPS=$stamps DIR=$stamps xargs -P "$(nproc)" -n 1 bash -c '
    if clang-tidy --quiet -p "$DIR" "$1" 2>/dev/null; then
      touch "$STAMPS/${1//\//_}"
      echo "   $1"
    else
      # Beyond 128: a signal. clang-tidy 14 crashes on some templates; that says nothing about them.
      (($? > 128)) && { echo "   $1: clang-tidy itself crashed: not looked at"; exit 0; }
      echo "   $1: clang-tidy is not content"
      exit 1
    fi' _) || status=1
  return "$status"
}
