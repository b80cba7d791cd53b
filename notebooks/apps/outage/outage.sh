#!/bin/bash
# Who answers while the Docker daemon is away?
#
#     outage.sh SIGNAL [OPTIONS OF dockerd]
#
# Starts a daemon and two containers of the image "answer", "plain" and "always" (with --restart always), or takes those
# of an earlier play with the same options. Ends the daemon by the signal, starts it again. Meanwhile it asks each of
# them ten times a second, and writes a line whenever the answer changes: SECONDS WHO answers|silent. The daemon has a
# line more, when it is started again: SECONDS daemon starting
signal=$1
shift
# No networks: the containers take the server's own, so that nothing but their end makes them silent.
options=(--bridge=none --iptables=false "$@")
declare -A address=([daemon]="--unix-socket /run/docker.sock docker/_ping" [plain]=localhost:8001 [always]=localhost:8002)

answers() { # WHO
    curl --silent --max-time 5 --output /dev/null ${address[$1]}
}

start() {
    dockerd "${options[@]}" >>/var/log/dockerd.log 2>&1 &
    until answers daemon; do sleep 0.05; done
}

end() { # SIGNAL
    pkill "-$1" -x dockerd
    while pgrep -x dockerd >/dev/null; do sleep 0.05; done
}

serve() { # NAME PORT OPTIONS OF docker run
    name=$1 port=$2
    shift 2
    docker start "$name" || docker run --detach --network host --stop-signal KILL --name "$name" "$@" answer \
        /busybox httpd -f -p "$port" -h /www
    until answers "$name"; do sleep 0.1; done
}

watch() { # WHO
    before=""
    while [ ! -e /tmp/over ]; do
        answers "$1" && said=answers || said=silent
        [ "$said" = "$before" ] || echo "$(date +%s.%N) $1 $said"
        before=$said
        sleep 0.1
    done
    echo "$(date +%s.%N) $1 end"
}

# An earlier play that was interrupted may still go on.
for old in $(pgrep -x outage.sh); do [ "$old" = $$ ] || kill "$old" 2>/dev/null; done
rm -f /tmp/over
pgrep -xf "dockerd ${options[*]}" >/dev/null || { end TERM; start; }
serve plain 8001 >/dev/null 2>&1
serve always 8002 --restart always >/dev/null 2>&1
for who in daemon plain always; do watch $who & watchers+=" $!"; done
sleep 1
end "$signal"
sleep 4
echo "$(date +%s.%N) daemon starting"
start
until answers always; do sleep 0.1; done
sleep 2
touch /tmp/over
wait $watchers
