#!/usr/bin/env bash
# Make the virtual environment in which tests/remote run MLServer and tritonclient's gRPC: their pins are not ours.
# usage: tests/remote/make-mlserver.sh [FOLDER]     (default .venv-mlserver; the tests look there, or in $COLLAGE_MLSERVER)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/_environment.sh

folder=${1:-.venv-mlserver}
plain_environment "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check mlserver==1.7.1 onnxruntime==1.32.0 \
  'tritonclient[grpc]==2.73.0'
"$folder/bin/mlserver" --version
