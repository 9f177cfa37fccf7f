#!/usr/bin/env bash
# Run the tests: makes .venv-test if it is absent, installs Collage there with all extras, and runs pytest,
# a file of tests on each core. Options go to it: scripts/test.sh tests/codes -q -n 0
# Tests that need Chromium or a dataset are skipped, with the reason, where those are absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

venv=${COLLAGE_VENV:-.venv-test}
make_environment "$venv" "[bench,train,otel,dev,docs]"
exec "$venv/bin/python" -m pytest -n auto --dist loadfile "$@"
