# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # colours for the callers; log_dir is theirs
# Steps with progress for ./run and ./test. Expects: root (the checkout), log_dir.

if [[ -t 1 ]]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
  bold='' dim='' red='' green='' plain=''
fi

# The same source in two build folders, or in two checkouts, is compiled once.
export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=$root

step_pid=
stop_step() { # ends the running step with everything that it started
  if [[ -n $step_pid ]]; then
    kill -TERM -- "-$step_pid" 2>/dev/null || true
    step_pid=
  fi
}

# step "What happens" log-name command...: runs it with its output in the log; one line for the person.
# A step shorter than two seconds prints nothing unless it fails.
step() {
  local title=$1 log=$log_dir/$2.log began=$SECONDS waited=0 last='' status=0 progress
  shift 2
  mkdir -p "$log_dir"
  set -m # a process group of its own, so that it can be ended whole
  "$@" >"$log" 2>&1 </dev/null &
  step_pid=$!
  set +m
  while kill -0 "$step_pid" 2>/dev/null; do
    sleep 0.2
    waited=$((waited + 1))
    if ((waited == 10)); then
      if [[ ! -t 1 ]]; then printf '%s ...\n' "$title"; fi
    fi
    if ((waited >= 10 && waited % 5 == 0)); then
      # ninja's [12/345], or what a script of ours says last
      progress=$(tail -c 2000 "$log" | tr '\r' '\n' | grep -oE '^\[[0-9]+/[0-9]+\]|[0-9]+ of [0-9]+ files' | tail -n 1 || true)
      if [[ -t 1 ]]; then
        printf '\r\e[K%s %s%s %d s%s' "$title" "$dim" "$progress" "$((SECONDS - began))" "$plain"
      elif ((waited % 150 == 0)) && [[ $progress != "$last" || $((waited % 600)) == 0 ]]; then
        printf '  %s %d s\n' "$progress" "$((SECONDS - began))"
        last=$progress
      fi
    fi
  done
  wait "$step_pid" || status=$?
  step_pid=
  if ((waited >= 10)) && [[ -t 1 ]]; then printf '\r\e[K'; fi
  if ((status)); then
    printf '%s%s: failed after %d s%s; the end of %s:\n' "$red" "$title" "$((SECONDS - began))" "$plain" "${log#"$root"/}"
    tail -n 40 "$log" | sed 's/^/  | /'
    return "$status"
  fi
  if ((waited >= 10)); then
    printf '%s %s%d s%s\n' "$title" "$dim" "$((SECONDS - began))" "$plain"
  fi
}

# fingerprint file...: one line for the content of files and folders that git knows or would take, and that are there
fingerprint() {
  (cd "$root" && git ls-files -z -co --exclude-standard -- "$@" | sort -zu |
    while IFS= read -r -d '' file; do if [[ -f $file ]]; then printf '%s\0' "$file"; fi; done | xargs -0r sha256sum | sha256sum | cut -c1-32)
}

# up_to_date NAME FINGERPRINT / mark NAME FINGERPRINT: whether a step was done for exactly this
up_to_date() { [[ -f $root/build/stamps/$1 && $(<"$root/build/stamps/$1") == "$2" ]]; }
mark() { mkdir -p "$root/build/stamps" && printf '%s\n' "$2" >"$root/build/stamps/$1"; }

install_packages() { # the sets that are needed
  if ! "$root/scripts/install-packages" --check "$@" >/dev/null; then
    if ((EUID == 0)); then
      printf 'Missing Debian packages: %s\n' "$("$root/scripts/install-packages" --check "$@" | tr '\n' ' ')"
      step "Installing them with apt" packages "$root/scripts/install-packages" "$@"
    else # in the open: it asks for a password, or says what to do
      "$root/scripts/install-packages" "$@"
    fi
  fi
}

configure() { # a CMake preset, if it has none yet or the presets have changed (ninja looks after the rest)
  if [[ ! -f $root/build/$1/build.ninja || $root/CMakePresets.json -nt $root/build/$1/CMakeCache.txt ]]; then
    step "Configuring $1" "configure-$1" cmake --preset "$1" -S "$root" "${@:2}"
  fi
}

node_modules() { # the npm packages that package-lock.json names
  local now
  now=$(fingerprint package.json package-lock.json 'packages/*/package.json' 'tests/e2e/package.json' 'spec/package.json')
  if ! up_to_date node_modules "$now" || [[ ! -d $root/node_modules ]]; then
    step "Installing the npm packages" npm npm ci --prefix "$root" --no-audit --no-fund || return
    mark node_modules "$now"
  fi
}

copy_module() { # built, wanted: to where a package and its tests look for it
  local made=$root/build/wasm/apps/$1 wanted=$root/packages/$2
  [[ -f $made ]] || return 0 # not among the targets
  cmp -s "$made" "$wanted" || { mkdir -p "$(dirname "$wanted")" && cp "$made" "$wanted"; }
}

configure_wasm_tests() { # ./run made it without GoogleTest
  if [[ $1 == all ]] && ! grep -q satsuma_wasm_gtest "$root/build/wasm/build.ninja"; then
    step "Configuring wasm with tests" configure-wasm cmake --preset wasm -S "$root"
  fi
}

build_wasm() { # ninja's targets
  step "Building OpenSSL for the browser module" openssl-wasm "$root/scripts/build-openssl-wasm" &&
    step "Fetching BearSSL for it" bearssl "$root/scripts/fetch-bearssl" &&
    configure wasm && configure_wasm_tests "$@" && step "Compiling the browser module" build-wasm nice ninja -C "$root/build/wasm" "$@" &&
    copy_module wasm/satsuma.wasm core/wasm/satsuma.wasm && copy_module mls-wasm/satsuma-mls.wasm mls/wasm/satsuma-mls.wasm
}

build_web() {
  node_modules || return
  local now module=packages/core/wasm/satsuma.wasm
  now=$(fingerprint packages package-lock.json)-$(sha256sum <"$root/$module" | cut -c1-16)
  if ! up_to_date web "$now" || [[ ! -f $root/packages/web/dist/index.html ]]; then
    step "Building the web page" build-web npm run --prefix "$root" --workspace packages/web build || return
    step "Compressing the web page" compress-web node "$root/scripts/compress-page.mjs" "$root/packages/web/dist" || return
    step "Building the example page" build-example npm run --prefix "$root" --workspace packages/example build || return
    mark web "$now"
  fi
}
