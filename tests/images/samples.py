"""Small build contexts, archives and images for the tests of this folder."""

import gzip
import io
import secrets
import tarfile


def folder_of(path, **files):
    """Write files into a folder; ``Dockerfile`` is one of them."""
    for name, text in files.items():
        (path / name.replace("__", ".")).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def tar(files):
    """Return a tar archive with files, as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def import_tiny(client, repository, tag="1", content=None):
    """Make an image of one file with random content, which no recipe would make; return its content."""
    content = content or secrets.token_bytes(200_000)
    client.api.import_image_from_data(tar({"only-here": content}), repository=repository, tag=tag)
    return content


def all_bytes(image):
    """Return all that the engine saves of an image, its layers unpacked."""
    saved = b"".join(image.save())
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        parts = [archive.extractfile(member).read() for member in archive if member.isfile()]
    return saved + b"".join(gzip.decompress(part) for part in parts if part.startswith(b"\x1f\x8b"))


def file_in(client, image, name):
    """Return a file's content out of an image."""
    container = client.api.create_container(image.id, command=["-"], labels={"org.docker-course": "1"})["Id"]
    try:
        chunks, _ = client.api.get_archive(container, name)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            return archive.extractfile(archive.getmembers()[0]).read()
    finally:
        client.api.remove_container(container, v=True)


def push(client, name):
    """Push, then forget the local name."""
    events = list(client.images.push(name, stream=True, decode=True))
    assert not [event for event in events if "error" in event], events
    client.images.remove(name)
