#!/usr/bin/env bash
# autobahn.sh runs the conformance suite's cases for RFC 6455, in both roles, and of those for
# RFC 7692 each family with messages of 64 bytes to 16 KiB. The others take hours.
set -euxo pipefail
cd "$(dirname "$0")/.."
cases='1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*'
for family in 12.{1..5} 13.{1..7}; do
	for size in {2..7}; do
		cases+=,$family.$size
	done
done
autobahn/run.sh -cases "$cases"
