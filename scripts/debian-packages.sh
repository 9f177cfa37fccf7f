#!/usr/bin/env bash
# Install the Debian packages that Collage and its tests use: virtual environments, Fashion-MNIST, and Chromium for the
# tests of the first page. Uses sudo where it is not run by root.
set -euo pipefail

missing=()
for package in python3-venv chromium chromium-driver dataset-fashion-mnist; do
  if [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" != installed ]; then
    missing+=("$package")
  fi
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "all Debian packages are there"
  exit
fi
if ! command -v apt-get >/dev/null; then
  echo "no apt-get here: this script is for Debian and its relatives" >&2
  exit 1
fi
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}
echo "installing with apt-get: ${missing[*]}"
as_root apt-get update --quiet=2
as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
