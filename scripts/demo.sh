#!/usr/bin/env bash
# See Collage work: makes .venv if it is absent, installs Collage there (without torch), and runs `collage demo`.
# Options go to it: scripts/demo.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

venv=${COLLAGE_VENV:-.venv}
make_environment "$venv" ""
exec "$venv/bin/collage" demo "$@"
