# In a terminal: curl --unix-socket /var/run/docker.sock http://docker/info
mine = get("/info").json()["Containers"]

check("03-by-hand", mine)
