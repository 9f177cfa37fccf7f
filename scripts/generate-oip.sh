#!/usr/bin/env bash
# Make src/collage/oip/open_inference.binpb of open_inference.proto. Needs the dev extra (grpcio-tools).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${PYTHON:-python3}" -m grpc_tools.protoc -I src/collage/oip \
  --descriptor_set_out=src/collage/oip/open_inference.binpb open_inference.proto
