# The one program that is there can read. In a terminal,
#   `docker cp CONTAINER:/etc/passwd - | tar -xO` would do, too.
mine = int(
    run(client, distroless, ["-c", "print(len(list(open('/etc/passwd'))))"], remove=True)
)

check("08-users", mine)
