# `create` makes a container; `start` would start it. In a terminal: `docker create course/first`
mine = client.containers.create("course/first", labels=labels())

check("01-create", mine)
