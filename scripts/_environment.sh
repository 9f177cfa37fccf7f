# Sourced by the scripts beside it: finds Python and makes a virtual environment with Collage in it.

find_python() { # prints the first Python that is new enough
  local candidate
  for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Collage needs Python 3.11 or newer, and found none. Name one that is not on the PATH: PYTHON=... $0" >&2
  return 1
}

make_environment() { # FOLDER EXTRAS: makes the folder where it is absent, and installs where the versions changed
  local folder=$1 extras=$2 python wanted
  if [ ! -x "$folder/bin/python" ]; then
    python=$(find_python)
    echo "making the virtual environment $folder with $("$python" --version)"
    if ! "$python" -m venv "$folder"; then
      rm -rf "$folder"
      echo "$python cannot make virtual environments. On Debian and Ubuntu: scripts/debian-packages.sh" >&2
      return 1
    fi
  fi
  wanted="$extras $(cat pyproject.toml constraints.txt | cksum)"
  if [ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing Collage and what it needs into $folder; the first time takes some minutes"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$extras"
    echo "$wanted" >"$folder/installed"
  fi
}

plain_environment() { # FOLDER: a virtual environment of its own, for packages whose versions are not ours
  if [ ! -x "$1/bin/python" ]; then
    "$(find_python)" -m venv "$1"
  fi
}
