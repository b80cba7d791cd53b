#!/bin/bash
# Who answers while the Docker daemon is away?
#
#     outage.sh SIGNAL [live-restore]
#
# Starts a daemon, with live-restore or as usual, and two containers of the image "answer", "plain" and "always" (with
# --restart always), or takes those of an earlier play. Ends the daemon by the signal, starts it again. Meanwhile it asks
# each of them some times a second, and writes a line whenever the answer changes: SECONDS WHO answers|silent. The daemon
# has a line more, when it is started again: SECONDS daemon starting
signal=$1 settings=/etc/docker/daemon.json
# No networks: the containers take the server's own, so that nothing but their end makes them silent.
daemon="dockerd --bridge=none --iptables=false"
declare -A port=([plain]=8001 [always]=8002) pause=([daemon]=0.5 [plain]=0.1 [always]=0.1)
exec {never}<> <(:) # nothing will come from here: to wait for it is to sleep, without starting a program
trap "" PIPE

rest() { # SECONDS
    read -rt "$1" -u $never
}

answers() { # WHO
    if [ "$1" = daemon ]; then
        curl --silent --max-time 5 --output /dev/null --unix-socket /run/docker.sock docker/_ping
    else # by what bash has built in: starting curl ten times a second would keep a slow computer busy
        (exec 3<>"/dev/tcp/127.0.0.1/${port[$1]}" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && read -rt 5 -u 3) 2>/dev/null
    fi
}

start() {
    $daemon >>/var/log/dockerd.log 2>&1 &
    until answers daemon; do rest 0.2; done
}

end() { # SIGNAL
    process=$(pgrep -x dockerd)
    kill "-$1" $process
    while [ -e "/proc/${process:-none}" ]; do rest 0.05; done
}

serve() { # NAME OPTIONS OF docker run
    name=$1
    shift
    docker run --detach --network host --stop-signal KILL --name "$name" "$@" answer \
        /busybox httpd -f -p "${port[$name]}" -h /www
}

watch() { # WHO
    before=""
    while [ ! -e /tmp/over ]; do
        answers "$1" && said=answers || said=silent
        [ "$said" = "$before" ] || echo "$EPOCHREALTIME $1 $said"
        before=$said
        rest "${pause[$1]}"
    done
    echo "$EPOCHREALTIME $1 end"
}

# An earlier play that was interrupted may still go on.
for old in $(pgrep -x outage.sh); do [ "$old" = $$ ] || kill "$old" 2>/dev/null; done
rm -f /tmp/over
pgrep -xf "$daemon" >/dev/null || { systemctl stop docker.socket docker; start; } # systemd's own would come back by itself
sed -i 's/"live-restore": true, //' $settings
[ "$2" ] && sed -i '1s/{/{"live-restore": true, /' $settings
pkill -HUP -x dockerd # it reads its settings anew
{ docker start plain always || { serve plain; serve always --restart always; }; } >/dev/null 2>&1
until answers plain && answers always; do rest 0.1; done
for who in daemon plain always; do watch $who & watchers+=" $!"; done
rest 1
end "$signal"
rest 2
echo "$EPOCHREALTIME daemon starting"
start
until answers always; do rest 0.1; done
rest 1
touch /tmp/over
wait $watchers
