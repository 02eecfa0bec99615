#!/usr/bin/env bash
# Installs the npm peers of each package-lock.json, once for each lock file.
set -euo pipefail
cd "$(dirname "$0")"
for dir in . ../kurrent/node; do
  stamp=$dir/node_modules/.installed
  if [ ! -e "$stamp" ] || ! cmp -s "$dir/package-lock.json" "$stamp"; then
    (cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    cp "$dir/package-lock.json" "$stamp"
  fi
done
