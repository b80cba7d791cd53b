# ENTRYPOINT is what stays, CMD is what an argument replaces; both in brackets.
# In a terminal: the three lines in a Dockerfile, `docker build -t course/my-greeting .`, then
#   `docker run course/my-greeting you`
text = 'FROM debian:trixie-slim\nENTRYPOINT ["echo", "hello"]\nCMD ["world"]\n'
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-greeting")

check("05-greet", mine)
