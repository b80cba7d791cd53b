# ENTRYPOINT is what stays, CMD is what an argument replaces; both in brackets.
# In a terminal: docker build -t course/my-greeting . and then docker run course/my-greeting
#   you
text = f'FROM {plain.tags[0]}\nENTRYPOINT ["echo", "hello"]\nCMD ["world"]\n'
mine, _ = client.images.build(
    fileobj=io.BytesIO(text.encode()), tag="course/my-greeting", rm=True
)

check("05-greet", mine)
