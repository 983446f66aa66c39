# shellcheck shell=bash
# Source packages of Debian's, of which something is compiled for the browser module. The user's own apt configuration stays as it is: the sources
# file, the lists and the downloads are all private. Sourced by scripts that define say() and set `work`, a folder of theirs.

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

need_programs() {
  local tool missing=()
  for tool in apt-get dpkg-source flock "$@"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if ((${#missing[@]})); then
    say "these programs are missing: ${missing[*]}; run scripts/install-packages"
    return 1
  fi
  [[ -r $debian_keyring ]] || { say "no $debian_keyring: install the package debian-archive-keyring"; return 1; }
}

lock_cache() { # file: false if another run had it first, and has ended now
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock -n 9 && return
  say "another build is running; waiting for it"
  flock 9
  return 1
}

mirror() { # the user's own mirror of a Debian archive, by the label in its release file
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    awk -v label="$1" '$1 == label { print $2; exit }'
}

apt_private() {
  local tool=$1
  shift
  # shellcheck disable=SC2154 # `work` is the caller's
  "$tool" -q -o Dir::Etc::sourcelist="$work/apt/satsuma.sources" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root \
    -o Acquire::Languages=none "$@"
}

read_source_lists() { # Debian's releases by name
  local main security release
  main=$(mirror Debian)
  security=$(mirror Debian-Security)
  if [[ -z $main ]]; then
    say "apt knows no Debian archive: run 'apt-get update' first"
    return 1
  fi
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/source"
  for release in "$@"; do
    printf 'Types: deb-src\nURIs: %s\nSuites: %s %s-updates\nComponents: main\nSigned-By: %s\n\n' "$main" "$release" "$release" "$debian_keyring"
    if [[ -n $security ]]; then
      printf 'Types: deb-src\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: %s\n\n' "$security" "$release" "$debian_keyring"
    fi
  done >"$work/apt/satsuma.sources"
  say "reading the list of Debian's source packages ($*)"
  if ! apt_private apt-get update >"$work/update.log" 2>&1 || grep -q '^E:' "$work/update.log"; then
    tail -n 20 "$work/update.log" >&2
    return 1
  fi
}

source_versions() { # package, extended regular expression: the newest first
  apt_private apt-cache showsrc "$1" 2>/dev/null | awk -v wanted="$2" '$1 == "Version:" && $2 ~ wanted { print $2 }' | sort -rVu
}

unpack_source() { # package, version, folder: false if its files are not to be had, as those of a version that is only announced
  say "downloading $1 $2"
  if ! (cd "$work/source" && apt_private apt-get source --download-only "$1=$2") >"$work/download.log" 2>&1; then
    say "its files are not to be had"
    return 1
  fi
  dpkg-source --no-check -x "$work/source/${1}_${2#*:}.dsc" "$3" >"$work/unpack.log" 2>&1 || { tail -n 20 "$work/unpack.log" >&2; return 1; }
}
