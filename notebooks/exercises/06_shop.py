# In a network of one's own, names are found: the container's own, and its aliases.
# In a terminal: `docker network create shops`, then `docker run -d --network shops
#   --network-alias shop course/web`, in the end `docker rm -f NAME`, `docker network rm shops`
mine = run(client, image, detach=True)
shops = client.networks.create(f"{mine.name}-net", labels=mine.labels)
shops.connect(mine, aliases=["shop"])

check("06-shop", mine)
