#!/bin/sh
# Runs a command with the secrets that are mounted as a file of NAME=value lines, if there are any.
set -eu
secrets=${EXPO_SECRETS:-/run/secrets/expo.env}
if [ -f "$secrets" ]; then
    set -a
    # shellcheck disable=SC1090
    . "$secrets"
    set +a
fi
exec "$@"
