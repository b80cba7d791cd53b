# ENTRYPOINT of this base is Python: CMD in brackets gives it arguments.
text = 'FROM gcr.io/distroless/python3-debian13\nCMD ["--version"]\n'
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-version")

check("08-version", mine)
