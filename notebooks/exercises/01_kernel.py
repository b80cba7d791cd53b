# The kernel tells its release to whoever asks. In a terminal: docker run --rm
#   course/debian:trixie-slim uname -r
mine = run(client, newer, ["uname", "-r"], remove=True)

check("01-kernel", mine)
