#!/bin/sh
# Scores the rows of data.json. Needs curl, and TWINML_URL and TWINML_KEY in the environment
# (twinml status --show-keys). The key goes in by a pipe: arguments are seen by everybody.
set -eu
: "${TWINML_URL:?the scoring URI, such as http://127.0.0.1:5001/score}" "${TWINML_KEY:?the key}"
printf 'header = "Authorization: Bearer %s"\n' "$TWINML_KEY" |
  curl --config - --silent --show-error --fail-with-body --max-time 60 \
    --retry 3 --header 'Content-Type: application/json' \
    --data-binary "@$(dirname "$0")/data.json" "$TWINML_URL"
echo
