"""The machine's disk and kernel, made from Debian packages by an ordinary user."""

import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path

from helpers.errors import CourseError
from helpers.host import mmdebstrap
from helpers.host.apt import SYSTEM_PROGRAMS
from helpers.machines import terminal

GUEST = Path(__file__).parent / "guest"
SUITE = "trixie"
FOR_TERMINALS = ("docker-cli", "docker-buildx")
PACKAGES = (
    "base-files", "busybox-static", "ca-certificates", "containerd", "crun", "docker.io", "iptables", "kmod",
    "linux-image-cloud-amd64", "procps", "socat", "stunnel4", "tini",
)  # fmt: skip
NOT_NEEDED = (
    "usr/bin/containerd-shim", "usr/bin/containerd-shim-runc-v1", "usr/bin/ctr", "usr/bin/perl*", "usr/bin/openssl",
    "usr/include", "usr/sbin/runc", "usr/lib/udev", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/*perl*", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib/x86_64-linux-gnu/libcrun.a",
    "usr/lib/x86_64-linux-gnu/libdb-*", "usr/share/[!c]*", "usr/share/c[!a]*", "boot/System.map*", "boot/config*",
)  # fmt: skip
DISK_SIZE = "16G"  # as much as the guest may fill; the file holds only what was written
MODULES = (
    "arch/x86/crypto", "crypto", "fs/overlayfs", "fs/squashfs", "lib", "mm", "net/802", "net/bridge", "net/core",
    "net/ipv4", "net/ipv6", "net/llc", "net/netfilter", "drivers/block/virtio_blk*", "drivers/block/zram",
    "drivers/char/hw_random", "drivers/net/dummy*", "drivers/net/ipvlan", "drivers/net/macvlan*",
    "drivers/net/net_failover*", "drivers/net/veth*", "drivers/net/virtio_net*", "drivers/net/vxlan",
    "drivers/virtio/virtio_balloon*",
)  # fmt: skip
FILES = {
    "init": "usr/sbin/init",
    "engine": "usr/sbin/engine",
    "layers": "usr/sbin/layers",
    "runtime": "usr/bin/runtime",
    "setkey": "usr/bin/setkey",
    "session": "usr/bin/session",
    "await-keys": "usr/bin/await-keys",
    "index.html": "www/index.html",
    "containerd.toml": "etc/containerd.toml",
    "daemon.json": "etc/docker/daemon.json",
    "stunnel.conf": "etc/stunnel.conf",
}
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\ndocker:x:101:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n10.0.2.15 machine\n",
    "hostname": "machine\n",
    "nsswitch.conf": "hosts: files dns\n",
    "resolv.conf": "nameserver 10.0.2.3\n",
}


def tree(root):
    """Unpack the packages into a folder, leave out what is not needed, add what their scripts would make."""
    _unpack(PACKAGES, root, "the virtual machine's packages")
    for pattern in NOT_NEEDED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _folders(root)
    _settings(root)
    for name, target in FILES.items():
        (root / target).unlink(missing_ok=True)
        shutil.copy(GUEST / name, root / target)
    _alternatives(root)
    _applets(root)
    home = next((root / "usr/lib/modules").iterdir())
    keep_modules(home)
    subprocess.run([root / "usr/bin/busybox", "depmod", "-b", root, home.name], check=True)


def _unpack(packages, root, what):
    command = [
        "mmdebstrap", "--mode=chrootless", "--variant=extract", f"--include={','.join(packages)}",
        '--aptopt=Acquire::Languages "none"', '--aptopt=APT::Install-Recommends "false"',
        *mmdebstrap.keyring(), SUITE, str(root), *mmdebstrap.sources(SUITE),
    ]  # fmt: skip
    mmdebstrap.run(command, f"unpacking {what}")


def docker_command(folder):
    """Pack the docker command and buildx, of the release that the engine is of, for terminals of this computer."""
    root = folder / "docker-command"
    _unpack(FOR_TERMINALS, root, "the docker command")
    programs = 'docker -C "$0/usr/libexec/docker" cli-plugins/docker-buildx'
    script = f'tar -C "$0/usr/bin" -c {programs} | zstd -q -12 -T0 -o "$1"'
    subprocess.run(["sh", "-c", script, root, folder / terminal.ARCHIVE], check=True)
    shutil.rmtree(root)


def _folders(root):
    """Make the folders and links that a system needs, and packages expect."""
    for name in ("proc", "sys", "dev", "run", "root", "mnt", "var/log", "var/lib/docker", "etc/docker", "www"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    if not (root / "var/run").is_symlink():
        (root / "var/run").rmdir()
        (root / "var/run").symlink_to("../run")


def _settings(root):
    """Write the files in /etc, and gather the certificates."""
    for name, text in ETC.items():
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).write_text(text)
    certificates = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_text("".join(file.read_text() for file in certificates))


def _alternatives(root):
    """Give programs the names under which the engine calls them: BuildKit runs each step of a build by ``runc``."""
    (root / "usr/sbin/runc").symlink_to("../bin/runtime")
    for name in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            (root / "usr/sbin" / (name + suffix)).symlink_to("xtables-legacy-multi")


def _applets(root):
    """Link busybox under the names of its programs, where no other program has the name."""
    busybox = root / "usr/bin/busybox"
    for line in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if not any(
            (root / folder / line).is_symlink() or (root / folder / line).exists() for folder in ("usr/bin", "usr/sbin")
        ):
            (root / "usr/bin" / line).symlink_to("busybox")


def keep_modules(home):
    """Keep, of a kernel's modules, those that a Docker Engine on virtual hardware needs, unpacked."""
    found = {path for pattern in MODULES for path in (home / "kernel").glob(pattern)}
    kept = found | {path for one in found for path in one.rglob("*")}
    for path in list((home / "kernel").rglob("*.ko*")):
        if path not in kept:
            path.unlink()
        elif path.suffix == ".xz":
            path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
            path.unlink()


def kernel(root, folder):
    """Take the kernel out of the tree, and make the initrd that loads the disk's driver."""
    shutil.move(next((root / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        initrd = Path(work)
        for name in ("bin", "dev", "newroot"):
            (initrd / name).mkdir()
        shutil.copy(root / "usr/bin/busybox", initrd / "bin")
        shutil.copy(next(root.rglob("virtio_blk.ko")), initrd)
        shutil.copy(GUEST / "initrd-init", initrd / "init")
        names = "\n".join(str(path.relative_to(initrd)) for path in sorted(initrd.rglob("*")))
        command = ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"]
        with (folder / "initrd").open("wb") as file:
            subprocess.run(command, cwd=initrd, input=names.encode(), stdout=file, check=True)


def file_system(root, path, size):
    """Make a file system from a tree, in which everything is root's."""
    command = (
        f"PATH=$PATH:{SYSTEM_PROGRAMS}; "
        'chown -R 0:0 "$0" && truncate -s "$2" "$1" && '
        'mke2fs -q -F -t ext4 -O ^has_journal -E lazy_itable_init=1,discard -m 0 -d "$0" "$1"'
    )
    done = subprocess.run(["fakeroot", "sh", "-c", command, root, path, size], capture_output=True, text=True)
    if done.returncode:
        raise CourseError(f"making {path.name}", done.stderr, "free disk space, then try again")
