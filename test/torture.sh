#!/usr/bin/env bash
# Runs every randomised suite for TORTURE seconds (default 3600) in slices of
# SLICE seconds (default 120). What was done is added to .torture/, so that a
# run can be stopped and gone on with, and the totals add up: what suites count
# (budget.Count) is summed in .torture/totals.
#
# A suite is a test that calls budget.For: it prints its seed and its count.
# With packages as arguments (./test/crash) only theirs are run.
set -euo pipefail
cd "$(dirname "$0")/.."
total=${TORTURE:-3600} slice=${SLICE:-120}
mkdir -p .torture
totals() { # of all slices, by test and what it counts
  awk '/ count /{for(i=1;i<NF;i++) if($i=="count") sum[$(i+1)" "$(i+2)]+=$(i+3)} END{for(k in sum) print k, sum[k]}' .torture/*.log | sort >.torture/totals
}
suites=$*
[ $# -gt 0 ] || suites=$(grep -rlE 'budget\.For\(' --include='*_test.go' --include='*test.go' . | xargs -n1 dirname | sort -u)
for dir in $suites; do
  go test "$dir" -run '^$' >/dev/null 2>&1 || continue
  name=$(echo "$dir" | tr '/' '-' | sed 's/^\.-//')
  done=$(cat ".torture/$name.seconds" 2>/dev/null || echo 0)
  while [ "$done" -lt "$total" ]; do
    began=$SECONDS
    TWINLOG_BUDGET=${slice}s go test -count=1 -timeout "$((slice * 20))s" -v "$dir" >".torture/$name.last" 2>&1 || {
      echo "$name: FAILED; .torture/$name.last says with which seed"
      exit 1
    }
    done=$((done + SECONDS - began))
    echo "$done" >".torture/$name.seconds"
    grep -hE '(seed|count|cases|runs|histories|days|kills)' ".torture/$name.last" >>".torture/$name.log" || true
    totals
    printf '%-40s %6d of %d s\n' "$name" "$done" "$total"
  done
done
cat .torture/totals
