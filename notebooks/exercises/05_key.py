# An image saved is a tar archive that holds its layers, each a tar archive, too.
# In a terminal: `mkdir key`, `docker save course/forgotten | tar -x -C key`, then look into
#   each layer with `tar -tf FILE`
found = set()
with tarfile.open(fileobj=io.BytesIO(b"".join(forgotten.save()))) as saved:
    for member in saved:
        try:
            layer = tarfile.open(fileobj=saved.extractfile(member))
            found.add(layer.extractfile("key").read().decode().strip())
        except (tarfile.ReadError, KeyError, AttributeError, TypeError, ValueError):
            pass  # no archive, or one without the file
print(found)
mine = max(found, key=len)

check("05-key", mine)
