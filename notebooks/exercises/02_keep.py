# A volume outlives the containers that have it mounted.
# In a terminal: `docker volume create NAME`, then `docker run --rm -v NAME:/data … sh -c 'echo
#   remember > /data/note'`
mine = client.volumes.create(labels=labels())
where = {mine.name: {"bind": "/data", "mode": "rw"}}
run(client, base, ["sh", "-c", "echo remember > /data/note"], volumes=where, remove=True)

check("02-keep", mine)
