# In a terminal: `docker info --format '{{.Containers}}'`
mine = get("/info").json()["Containers"]

check("03-by-hand", mine)
