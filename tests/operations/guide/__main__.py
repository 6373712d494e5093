"""Follow the operators' guide on this machine, from an empty server to the end; needs root.

    python -m tests.operations.guide [--nice N] [--hold] [--installed]

The blocks run in order in a copy-on-write layer over this machine's root, with processes, loopback
and /run of their own: nothing of it stays, and no process outlives it. What is not done word for
word is in `table.py`. Exit code 0: each block did what the guide says; 1: one did not.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys

from tests.operations.guide.page import ROOT

NEEDED = {
    "unshare": "util-linux",
    "ip": "iproute2",
    "curl": "curl",
    "pg_createcluster": "postgresql",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}
_OF_INDEX = re.compile(r"PIP_|(?i:(https?|no)_proxy)$|SSL_CERT_")  # how packages are reached
LAYER = r"""
set -euo pipefail
layer=$(mktemp -d)
mount -t tmpfs none "$layer"
mkdir "$layer"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
for each in dev sys; do mount --rbind "/$each" "$layer/root/$each"; done
mount -t proc proc "$layer/root/proc"
mount -t tmpfs none "$layer/root/run"
mount -t tmpfs none "$layer/root/tmp"
python=$1 manner=$2 source=$3 root=$4
shift 4
exec chroot "$layer/root" /usr/bin/env -i -C "$root" HOME=/root LANG=C.UTF-8 TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" \
    "$python" -m tests.operations.guide.follow "$manner" "$source"
"""


def main() -> int:
    """Make the layer, and follow the guide inside."""
    parser = argparse.ArgumentParser(prog="python -m tests.operations.guide", description=__doc__)
    parser.add_argument("--nice", type=int, default=0, help="how far to step back for others")
    parser.add_argument(
        "--hold", action="store_true", help="at a fault, wait for the page's mending"
    )
    parser.add_argument(
        "--installed", action="store_true", help="this checkout's environment will do"
    )
    told = parser.parse_args()
    missing = [f"{name} ({of})" for name, of in NEEDED.items() if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        wanted = f"; not installed: {', '.join(missing)}" if missing else ""
        sys.stderr.write(f"the guide is followed as root, in a layer of its own{wanted}\n")
        return 1
    os.nice(told.nice)
    index = [f"{name}={value}" for name, value in os.environ.items() if _OF_INDEX.match(name)]
    spaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    manner = "hold" if told.hold else "end"
    source = "checkout" if told.installed else "wheel"
    inside = ("bash", "-c", LAYER, "layer", sys.executable, manner, source, str(ROOT), *index)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    layer = subprocess.Popen([*spaces, *inside], cwd=ROOT)
    try:
        return layer.wait()
    finally:
        layer.kill()  # and with it every process inside


if __name__ == "__main__":
    sys.exit(main())
