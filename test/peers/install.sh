#!/usr/bin/env bash
# Installs the npm peers of package-lock.json, once for each lock file.
set -euo pipefail
cd "$(dirname "$0")"
stamp=node_modules/.installed
if [ ! -e "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
  cp package-lock.json "$stamp"
fi
