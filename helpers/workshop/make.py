"""Make the virtual machine: without images, or with those of all notebooks."""

import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor

from helpers import engine
from helpers.images import pip_secrets
from helpers.machines import disk, terminal
from helpers.progress import progress
from helpers.workshop import fill, tree, uml

COMPRESSED = ("-O", "qcow2", "-c", "-o", "compression_type=zstd,cluster_size=256k")


def make_plain(why):
    """Make a machine from Debian packages, without images."""
    print(f"making a virtual machine from Debian packages ({why}): half a minute, once", flush=True)
    with _bench("plain") as work:
        tree.tree(work / "root")
        tree.kernel(work / "root", work)
        tree.file_system(work / "root", work / "plain.img", tree.DISK_SIZE)
        _convert(work / "plain.img", work / "plain.qcow2", *COMPRESSED)
        _install("plain", work, ("plain.qcow2", "vmlinuz", "initrd"))


def make_disk(why):
    """Have the machine's engine make the images of all notebooks, as an ordinary program; keep them on its disk."""
    engine.reset_modes()
    print(f"building the notebooks' images on the virtual machine ({why}): 15 to 30 minutes, once", flush=True)
    if lacking := disk.problem("plain"):
        make_plain(lacking)
    with _bench("disk") as work:
        raw = work / "disk.img"
        with ThreadPoolExecutor(8) as pool:
            kernels, archives = pool.submit(uml.unpack, work), fill.archives(work, pool)
            command = pool.submit(tree.docker_command, work) if terminal.wanted() else None
            _convert(disk.folder() / "plain.qcow2", raw, "-O", "raw")
            kernels.result()
            with uml.engine(work, raw, work / "session", layers=work / "layers.squashfs") as client:
                fill.bases(client, archives)
                fill.fill(client, fill.names())
            if command:
                command.result()
        _convert(raw, work / "disk.qcow2", *COMPRESSED)
        _install("disk", work, ("disk.qcow2", "layers.squashfs"))
        _install_command(work)
        (disk.folder() / disk.HOST_SETTINGS).unlink(missing_ok=True)
        if pip_secrets.files():
            (disk.folder() / disk.HOST_SETTINGS).touch()
    for file in ("plain.json", "plain.qcow2"):
        (disk.folder() / file).unlink()


@contextlib.contextmanager
def _bench(name):
    """Give an empty folder that goes away, beside what is to be made."""
    work = disk.folder() / f"{name}-unfinished"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(name, work, files):
    """Put finished files in their place, and write down what they are; in between, there is no record of them."""
    (disk.folder() / f"{name}.json").unlink(missing_ok=True)
    for file in files:
        (work / file).rename(disk.folder() / file)
    disk.write_record(name, {*files, "vmlinuz", "initrd"})


def _install_command(work):
    """Put the docker command in its place, and take away what was unpacked of an earlier one."""
    (disk.folder() / terminal.ARCHIVE).unlink(missing_ok=True)
    shutil.rmtree(disk.folder() / "docker", ignore_errors=True)
    if (work / terminal.ARCHIVE).exists():
        (work / terminal.ARCHIVE).rename(disk.folder() / terminal.ARCHIVE)


def _convert(source, target, *options):
    with progress(total=None, desc=f"writing {target.name}", delay=2):
        disk.qemu_img("convert", "-m", "8", "-W", *options, source, target)
