#!/bin/sh
# reload-certificate.sh CERTIFICATE PIDFILE SECONDS
#
# Has coturn read a renewed certificate: it looks every SECONDS, and sends SIGUSR2, which closes no connection.
set -eu
trap 'exit 0' TERM
seen=  # so that it also sends one at its own start, after which a change may have been missed
while sleep "$3" & wait $!; do
    now=$(cksum < "$1")
    if [ "$now" != "$seen" ] && kill -USR2 "$(cat "$2")"; then
        seen=$now
    fi
done
