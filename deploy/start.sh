#!/bin/sh
# Runs an agent with openclaw-trace beside it. Meant as a container's entry point:
#
#     start.sh openclaw gateway
#
# - TERM and INT reach both. The agent is asked first; the sidecar follows once the agent is gone,
#   so that it takes the agent's last events.
# - The script ends with the agent's exit code. The agent is never started twice: whoever watches
#   this container decides that.
# - The sidecar is started again when it ends, after 1, 2, 4, ... 60 seconds. It is never the reason
#   that the agent stops.
#
# TRACE_BIN names the sidecar's binary (openclaw-trace), TRACE_STOP_SECONDS how long the sidecar may
# take to drain (15). Keep kill_timeout of the machine above the agent's own time plus that.
set -u

# The sidecar reads every TRACE_ variable as a setting of its own, so these two are not passed on.
sidecar=${TRACE_BIN:-openclaw-trace}
stop_seconds=${TRACE_STOP_SECONDS:-15}
unset TRACE_BIN TRACE_STOP_SECONDS

# Ctrl-C in a terminal reaches every process of its group at once. In a session of its own the sidecar
# does not hear it, and is there until the agent is gone.
apart=
if command -v setsid >/dev/null; then apart=setsid; fi

if [ $# -eq 0 ]; then
    echo "usage: start.sh AGENT [ARGUMENTS...]" >&2
    exit 2
fi

# The sidecar's keeper: one child at a time, started again with growing pauses.
keep_sidecar() {
    child=
    stopping=
    trap 'stopping=1; terminate "$child" "$began"' TERM
    trap '[ -z "$child" ] || kill -KILL "$child"' USR1
    pause=1
    while [ -z "$stopping" ]; do
        began=$(date +%s)
        [ -z "$stopping" ] || break
        # shellcheck disable=SC2086 # no word where there is no setsid
        $apart "$sidecar" run &
        child=$!
        [ -z "$stopping" ] || terminate "$child" "$began"
        wait_for "$child"
        child=
        [ -z "$stopping" ] || break
        if [ "$code" -eq 2 ]; then
            echo "start.sh: $sidecar refused its configuration; the agent goes on without it" >&2
            break
        fi
        # What ran for a minute starts afresh.
        [ $(($(date +%s) - began)) -lt 60 ] || pause=1
        echo "start.sh: $sidecar ended with code $code; starting it again in $pause s" >&2
        sleep "$pause" &
        child=$!
        wait "$child"
        child=
        pause=$((pause * 2))
        [ "$pause" -le 60 ] || pause=60
    done
}

# Sends TERM to a process, told the time of its start. What was forked a moment ago is still this
# shell, and would swallow the signal.
terminate() {
    [ -n "$1" ] || return 0
    [ $(($(date +%s) - $2)) -gt 1 ] || sleep 1
    kill -TERM "$1" 2>/dev/null
}

# Waits for a child's end and sets `code`. A signal ends the shell's own `wait` early, with a code
# over 128 that says nothing of the child.
wait_for() {
    while wait "$1"; code=$?; [ "$code" -gt 128 ] && kill -0 "$1" 2>/dev/null; do :; done
    if [ "$code" -gt 128 ]; then
        # It may have ended at that very moment; the shell then still knows how.
        wait "$1"
        known=$?
        [ "$known" -eq 127 ] || code=$known
    fi
}

agent=
signalled=
# INT is passed on as TERM: a shell's background children ignore INT unless they ask for it.
started=$(date +%s)
trap 'signalled=1; terminate "$agent" "$started"' TERM INT

keep_sidecar &
keeper=$!
"$@" &
agent=$!
[ -z "$signalled" ] || terminate "$agent" "$started"
wait_for "$agent"
agent_code=$code
agent=

terminate "$keeper" "$started"
# Its time to drain. Then a second signal, at which it stops at once; then no more patience.
(
    nap=
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    sleep "$stop_seconds" & nap=$!
    wait "$nap"
    echo "start.sh: $sidecar did not stop within $stop_seconds s" >&2
    kill -TERM "$keeper" 2>/dev/null
    sleep 2 & nap=$!
    wait "$nap"
    kill -USR1 "$keeper" 2>/dev/null
) &
timer=$!
wait_for "$keeper"
kill -TERM "$timer" 2>/dev/null
exit "$agent_code"
