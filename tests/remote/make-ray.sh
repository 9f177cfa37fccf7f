#!/usr/bin/env bash
# Make the virtual environment with Ray: 240 MB, which the other tests do without. Its versions are those of the rest.
# usage: tests/remote/make-ray.sh [FOLDER]     (default .venv-ray), then FOLDER/bin/python -m pytest -m ray
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/_environment.sh

folder=${1:-.venv-ray}
plain_environment "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt 'ray[serve]==2.60.0' \
  -e '.[bench]' pytest pytest-timeout
"$folder/bin/python" -c 'import ray; print(f"ray {ray.__version__}")'
