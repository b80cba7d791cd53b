# `create` makes a container, and starts nothing. In a terminal: `docker create course/first`
mine = client.containers.create("course/first", labels=labels())

check("01-create", mine)
