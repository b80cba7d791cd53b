# In a terminal: `docker run -d --user 65532 -p 127.0.0.1::8000 course/web-distroless`
mine = run(client, on_distroless, detach=True, ports={"8000/tcp": None}, user="65532")

check("08-not-root", mine)
