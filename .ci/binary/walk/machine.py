"""A machine of its own: this one's files as they are, changes in memory, systemd as its first process, no network."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE/root" "$PLACE/up" "$PLACE/work"
ROOT="$PLACE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/up,workdir=$PLACE/work" "$ROOT"
rm -rf "$ROOT/etc/systemd/system" && mkdir -p "$ROOT/etc/systemd/system"
printf '[Unit]\\nDescription=The machine of the walk\\n' > "$ROOT/etc/systemd/system/walk.target"
mount -t proc proc "$ROOT/proc"
mount --bind "$ROOT/proc/sys" "$ROOT/proc/sys" && mount -o remount,ro,bind "$ROOT/proc/sys"
mount -t sysfs sysfs "$ROOT/sys"
mount -t tmpfs tmpfs "$ROOT/sys/fs/cgroup"
for kind in $KINDS; do
    mkdir -p "$ROOT/sys/fs/cgroup/${kind#name=}"
    mount -t cgroup -o "$(case $kind in name=*) echo none, ;; esac)$kind" cgroup "$ROOT/sys/fs/cgroup/${kind#name=}"
done
mount -o remount,ro,bind "$ROOT/sys"
mount -t tmpfs tmpfs "$ROOT/dev"
for each in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    set -- $(echo $each | tr : ' ')
    mknod -m 666 "$ROOT/dev/$1" c $2 $3
done
mkdir "$ROOT/dev/shm" "$ROOT/dev/pts"
ln -s /proc/self/fd "$ROOT/dev/fd" && ln -s pts/ptmx "$ROOT/dev/ptmx"
for each in run tmp dev/shm; do mount -t tmpfs tmpfs "$ROOT/$each"; done
hostname walk
cd "$ROOT" && mkdir -p old && pivot_root . old && umount -l old
exec setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-sys_boot --inh-caps -all \\
    env -i container=walk PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --log-target=journal --unit=walk.target systemd.unified_cgroup_hierarchy=0
"""
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """Boots in a folder. Its processes are in control groups of their own, below ours."""

    def __init__(self, place: Path) -> None:
        groups = re.findall(r"^\d+:([^:]+):(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
        self.groups = []
        for kind, own in groups:
            group = (
                Path("/sys/fs/cgroup") / kind.removeprefix("name=") / own.strip("/") / f"chainops-walk-{os.getpid()}"
            )
            group.mkdir()
            self.groups.append(group)
            for file in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty at first, and then nothing may enter
                if (group / file).is_file():
                    (group / file).write_text((group.parent / file).read_text())
        enter = "".join(f"echo $$ > {group}/cgroup.procs\n" for group in self.groups)
        unshare = 'exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -c "$BOOT"\n'
        environment = {"PATH": PATH, "PLACE": str(place), "BOOT": BOOT, "KINDS": " ".join(kind for kind, _ in groups)}
        self.log = place.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-ec", enter + unshare], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.init = self._first_process()
        self.root = Path(f"/proc/{self.init}/root")

    def _first_process(self) -> int:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                self.init = int(children[0])
                if "running" in self.run("systemctl", "is-system-running").stdout:
                    return self.init
            time.sleep(0.1)
        self.end()
        raise OSError(f"systemd does not start here: {self.log.read_text()[-500:]}")

    def command(self, *words: str, **environment: str) -> list[str]:
        variables = [f"{name}={value}" for name, value in {"PATH": PATH, **environment}.items()]
        return ["nsenter", "-t", str(self.init), "-a", "env", "-i", *variables, *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words, **environment), capture_output=True, text=True, timeout=120)

    def end(self) -> None:
        """End its processes, all of them, and take the control groups away."""
        if self.process.poll() is None:
            os.kill(
                self.process.pid, signal.SIGKILL
            )  # unshare --kill-child ends the first process, and that all others
        self.process.wait()
        deadline = time.monotonic() + 20
        while any(group.exists() for group in self.groups) and time.monotonic() < deadline:
            for group in self.groups:
                for folder, _, _ in os.walk(group, topdown=False):
                    try:
                        Path(folder).rmdir()
                    except OSError:
                        time.sleep(0.05)  # its processes are still ending
