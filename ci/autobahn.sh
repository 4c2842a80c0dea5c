#!/usr/bin/env bash
# autobahn.sh runs the conformance suite's cases for RFC 6455, in both roles.
set -euxo pipefail
cd "$(dirname "$0")/.."
autobahn/run.sh -cases '1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*'
