#!/bin/sh
# Installs openclaw-trace, once its checksum is right:
#
#     install.sh [--sha256 HEX] [--prefix DIR] [--systemd] [FROM]
#
# FROM is a folder that deploy/build-static made (the default: the folder of this script), the binary itself, or its
# https:// address. The checksum is that of --sha256, else of the file FROM.sha256 beside it. A checksum from the same place as
# the file tells only that nothing was lost on the way; one that came another way (--sha256) tells that it is the file you mean.
#
# - Nothing is replaced before the checksum is right and the file has run; then it takes its name at once. An instance that
#   runs goes on with the old file until it is started again.
# - --systemd also installs the unit, and enables and starts it (not where DESTDIR is set). It needs FROM to be a folder.
# - DESTDIR is put before every path, for images.
#
# Exit codes: 0 done, 1 failed and nothing was changed, 2 wrong usage.
set -eu

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
usage() {
    say "$*"
    echo "usage: install.sh [--sha256 HEX] [--prefix DIR] [--systemd] [FROM]" >&2
    exit 2
}

expected='' prefix=/usr/local systemd='' from=''
while [ $# -gt 0 ]; do
    case $1 in
        --sha256 | --prefix)
            # A variable that is not set must not switch the check off.
            [ -n "${2:-}" ] || usage "$1 needs a value"
            if [ "$1" = --prefix ]; then prefix=$2; else expected=$2; fi
            shift 2
            ;;
        --systemd) systemd=1 && shift ;;
        -*) usage "$1 is not known" ;;
        *)
            [ -z "$from" ] || usage "one FROM, not two"
            from=$1 && shift
            ;;
    esac
done
from=${from:-$(dirname "$0")}
case $prefix in /*) ;; *) usage "--prefix must begin with /" ;; esac
[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail "this file is for Linux on x86-64, and this is $(uname -s) on $(uname -m)"

folder=''
case $from in
    https://* | http://*) ;;
    *)
        [ -e "$from" ] || fail "$from does not exist"
        if [ -d "$from" ]; then
            folder=$from from=$from/openclaw-trace
            [ -f "$from" ] || fail "$folder holds no openclaw-trace"
        fi
        ;;
esac
if [ -n "$systemd" ]; then
    [ -n "$folder" ] || usage "--systemd needs a folder, in which the unit is"
    [ -f "$folder/openclaw-trace.service" ] || fail "$folder holds no openclaw-trace.service"
fi

bin=${DESTDIR:-}$prefix/bin
mkdir -p "$bin" || fail "$bin cannot be made"
# In the folder where it is to stand, so that it takes its name in one step.
new=$(mktemp "$bin/.openclaw-trace.XXXXXX") || fail "$bin cannot be written"
trap 'rm -f "$new" "$new.sha256"' EXIT
trap 'exit 1' HUP INT TERM

# fetch FROM TO
fetch() {
    case $1 in
        https://* | http://*)
            if command -v curl >/dev/null; then
                curl --fail --silent --show-error --location --proto-redir '=https' --max-time 300 --output "$2" "$1"
            elif command -v wget >/dev/null; then
                wget -q -T 60 -O "$2" "$1"
            else
                fail "neither curl nor wget is here: fetch $1 by other means, and name the file"
            fi
            ;;
        *) cat "$1" >"$2" ;;
    esac
}

if [ -z "$expected" ]; then
    case $from in http://*) usage "over http:// a checksum from the same place proves nothing: give --sha256" ;; esac
    fetch "$from.sha256" "$new.sha256" || fail "there is no checksum at $from.sha256: give one by --sha256"
    read -r expected _ <"$new.sha256" || true
fi
expected=$(printf '%s' "$expected" | tr 'A-F' 'a-f')
case $expected in *[!0-9a-f]* | "") fail "the checksum is no SHA-256: $expected" ;; esac
[ ${#expected} = 64 ] || fail "the checksum is no SHA-256 (64 digits): $expected"

fetch "$from" "$new" || fail "$from cannot be had"
found=$(sha256sum <"$new")
found=${found%% *}
[ "$found" = "$expected" ] || fail "$from is not the file that is meant: its SHA-256 is $found, and $expected is expected; nothing was changed"

chmod 755 "$new"
version=$("$new" --version) || fail "$from does not run on this machine; nothing was changed"
# On the disk before it has its name: a power loss leaves the old file or the new one.
sync "$new" 2>/dev/null || sync
mv -f "$new" "$bin/openclaw-trace"
echo "installed $bin/openclaw-trace ($version)"

if [ -n "$folder" ] && [ -f "$folder/openclaw-trace.schema.json" ]; then
    share=${DESTDIR:-}$prefix/share/openclaw-trace
    mkdir -p "$share"
    cat "$folder/openclaw-trace.schema.json" >"$share/openclaw-trace.schema.json"
fi

[ -n "$systemd" ] || exit 0
units=${DESTDIR:-}/etc/systemd/system
mkdir -p "$units"
sed "s|^ExecStart=/usr/local/bin/|ExecStart=$prefix/bin/|" "$folder/openclaw-trace.service" >"$units/openclaw-trace.service"
echo "installed $units/openclaw-trace.service"
if [ -z "${DESTDIR:-}" ]; then
    systemctl daemon-reload
    systemctl enable openclaw-trace.service
    systemctl restart openclaw-trace.service
fi
