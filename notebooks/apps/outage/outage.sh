#!/bin/bash
# Who answers while the Docker daemon is away?
#
#     outage.sh SIGNAL [OPTIONS OF dockerd]
#
# Starts a daemon and two containers of the image "answer", "plain" and "always" (with --restart always). Ends the
# daemon by the signal, starts it again. Meanwhile it asks each of them ten times a second, and writes a line whenever
# the answer changes: SECONDS WHO answers|silent
signal=$1
shift

start() {
    dockerd "$@" >>/var/log/dockerd.log 2>&1 &
    until docker info >/dev/null 2>&1; do sleep 0.05; done
}

answers() { # CURL'S-ARGUMENTS
    curl --silent --max-time 5 --output /dev/null "$@"
}

watch() { # WHO CURL'S-ARGUMENTS
    who=$1 before=""
    shift
    while [ ! -e /tmp/over ]; do
        answers "$@" && said=answers || said=silent
        [ "$said" = "$before" ] || echo "$(date +%s.%N) $who $said"
        before=$said
        sleep 0.1
    done
    echo "$(date +%s.%N) $who end"
}

# An earlier play that was interrupted may still go on.
for old in $(pgrep -x outage.sh); do [ "$old" = $$ ] || kill "$old" 2>/dev/null; done
pkill -x dockerd
while pgrep -x dockerd >/dev/null; do sleep 0.05; done
rm -f /tmp/over
start "$@"
docker rm --force plain always >/dev/null 2>&1
docker run --detach --stop-signal KILL --name plain --publish 8001:8000 answer >/dev/null
docker run --detach --stop-signal KILL --name always --publish 8002:8000 --restart always answer >/dev/null
plain="http://$(hostname -i):8001" always="http://$(hostname -i):8002"
until answers "$plain" && answers "$always"; do sleep 0.1; done
watch daemon --unix-socket /run/docker.sock http://docker/_ping & watchers=$!
watch plain "$plain" & watchers="$watchers $!"
watch always "$always" & watchers="$watchers $!"
sleep 1
pkill "-$signal" -x dockerd
while pgrep -x dockerd >/dev/null; do sleep 0.05; done
sleep 4
start "$@"
until answers "$always"; do sleep 0.1; done
sleep 2
touch /tmp/over
wait $watchers
docker rm --force plain always >/dev/null 2>&1
pkill -x dockerd
while pgrep -x dockerd >/dev/null; do sleep 0.05; done
