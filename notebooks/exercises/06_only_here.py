# The helper would take 127.0.0.1 by itself; client.containers.run would not.
# In a terminal: `docker run -d -p 127.0.0.1::8000 course/web`, in the end `docker rm -f NAME`
mine = run(client, image, detach=True, ports={"8000/tcp": ("127.0.0.1", None)})

check("06-only-here", mine)
