# In a terminal: `docker run -d --memory 32m --memory-swap 32m debian:trixie-slim sleep 300`
mine = run(client, base, ["sleep", "300"], detach=True, mem_limit="32m", memswap_limit="32m")

check("02-limit", mine)
