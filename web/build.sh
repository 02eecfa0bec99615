#!/usr/bin/env bash
# Builds the GraphQL IDE from package-lock.json's versions into dist/, where
# `go build` embeds it. Nothing is fetched when the sources have not changed.
set -euo pipefail
cd "$(dirname "$0")"

stamp=$(cat package.json package-lock.json vite.config.mjs index.html build.sh src/* examples/*.graphql | sha256sum | cut -c1-64)
[ -f dist/index.html ] && [ "$(cat dist/.built 2>/dev/null)" = "$stamp" ] && exit 0

lock=$(sha256sum <package-lock.json | cut -c1-64)
if [ "$(cat node_modules/.lock 2>/dev/null)" != "$lock" ]; then
  npm ci --no-audit --no-fund --loglevel=error
  printf '%s' "$lock" >node_modules/.lock
fi
npm run --silent build

# Everything but the page is compressed once, here; the server sends it as it
# is. The page comes last: without it an interrupted build is no IDE.
find dist -mindepth 1 ! -name .gitkeep -delete
find build -type f ! -name index.html -exec gzip -9 -n {} +
cp -R build/assets dist/
printf '%s' "$stamp" >dist/.built
cp build/index.html dist/
rm -r build
