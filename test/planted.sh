#!/usr/bin/env bash
# Builds with the mistakes of domain/planted, makes one after the other, and
# says after how many random histories each was found. Each must be within 200.
set -euo pipefail
cd "$(dirname "$0")/.."
go test -tags planted -count=1 -timeout 60m -run TestPlanted -v ./test/timetravel |
  sed -nE 's/^ *planted_test\.go:[0-9]+: //p; /^(FAIL|ok)/p'
