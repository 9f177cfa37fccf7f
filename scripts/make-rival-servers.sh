#!/usr/bin/env bash
# Make the virtual environments of the servers that `collage bench-gateway` compares with: their pins are not ours.
# usage: scripts/make-rival-servers.sh [FOLDER]     (default .rivals; the command looks there, or in $COLLAGE_RIVALS)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/_environment.sh

folder=${1:-.rivals}
onnxruntime=onnxruntime==1.32.0 # the same for all, and ours

make_rival() { # NAME PACKAGE...
  local environment="$folder/$1"
  shift
  plain_environment "$environment"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$onnxruntime" "$@"
}

make_rival litserve litserve==0.2.19
make_rival mlserver mlserver==1.7.1 uvloop==0.21.0 # its parallel workers do not start with a later uvloop
make_rival ray-serve 'ray[serve]==2.60.0'          # Apache-2.0, all three
echo "made in $folder: $(ls "$folder" | tr '\n' ' ')"
