"""ClickHouse and ZooKeeper as Debian packages them, unpacked into a folder of ours.

Nothing is installed: no service is started, no user made, no file of the machine changed. What the packages depend on
and the machine lacks is unpacked beside them, and found by LD_LIBRARY_PATH.
"""

import getpass
import os
import pathlib
import shutil
import subprocess

PACKAGES = ["clickhouse-server", "clickhouse-client", "zookeeper"]


class NotHere(Exception):
    """The packages, or Java, cannot be had: the tests are left out, with this reason."""


def have(cache: pathlib.Path) -> pathlib.Path:
    """The folder that the packages are unpacked in; kept in `cache` for the next time."""
    root, made = cache / "root", cache / "unpacked"
    if shutil.which("java") is None:
        raise NotHere("java is not installed; ZooKeeper needs it (apt-get install default-jre-headless)")
    if made.exists():
        return root
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise NotHere(f"{tool} is not here: the packages are Debian's")
    debs, lists = cache / "debs", cache / "lists"
    for folder in (root, debs, lists):
        shutil.rmtree(folder, ignore_errors=True)
    (debs / "partial").mkdir(parents=True)
    (lists / "partial").mkdir(parents=True)
    # With lists of our own, nothing needs root.
    own = ["-qq", "-y", "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache::archives={debs}", "-o", "Debug::NoLocking=1",
           "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", f"APT::Sandbox::User={getpass.getuser()}"]
    for command in (["update"], ["--no-install-recommends", "--download-only", "install", *PACKAGES]):
        fetched = subprocess.run(["apt-get", *own, *command], capture_output=True, text=True, timeout=300, check=False,
                                 stdin=subprocess.DEVNULL)
        if fetched.returncode != 0:
            raise NotHere("apt-get could not fetch " + ", ".join(PACKAGES) + ":\n" + fetched.stderr.strip()[-600:])
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    shutil.rmtree(debs)
    shutil.rmtree(lists)
    made.touch()
    return root


def environment(root: pathlib.Path) -> dict[str, str]:
    """What a program out of `root` runs with."""
    libraries = [root / "usr/lib/x86_64-linux-gnu", root / "lib/x86_64-linux-gnu"]
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(map(str, libraries)), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
