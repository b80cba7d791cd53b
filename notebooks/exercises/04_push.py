# In a terminal: `docker login ADDRESS`, `docker tag hello-world ADDRESS/course/ada`,
#   `docker push ADDRESS/course/ada`, `docker logout ADDRESS`. print(password) shows it.
name = f"{address}/course/ada"
hello.tag(name, "latest")
client.login("course", password, registry=address)
client.images.push(name, tag="latest")
mine = name

check("04-push", mine)
