#!/bin/sh
# Runs Alertmanager in its container, with what alerts/render makes of the
# environment. Arguments go to Alertmanager.
set -eu

if [ -z "${CHATWOOT_BASE_URL-}" ]; then
  echo 'alertmanager.sh: CHATWOOT_BASE_URL is not set, so there is only the demo, whose alerts need to reach nobody' >&2
  export ALERTS_TO_NOBODY=true
fi

rendered=${TMPDIR:-/tmp}/alertmanager
sh "$(dirname "$0")/alerts/render" "$rendered"
exec alertmanager --config.file="$rendered/alertmanager.yml" "$@"
