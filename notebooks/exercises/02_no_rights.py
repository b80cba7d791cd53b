# In a terminal: `docker run -d --user 1000 --cap-drop ALL debian:trixie-slim sleep 300`
mine = run(client, base, ["sleep", "300"], detach=True, user=1000, cap_drop=["ALL"])

check("02-no-rights", mine)
