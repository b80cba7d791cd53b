# The kernel tells its release to whoever asks.
# In a terminal: `docker run --rm debian:trixie-slim uname -r`
mine = run(client, base, ["uname", "-r"], remove=True)

check("01-kernel", mine)
