# ENTRYPOINT of this base is Python: CMD in brackets gives it arguments.
text = f'FROM {distroless.tags[0]}\nCMD ["--version"]\n'
mine, _ = client.images.build(
    fileobj=io.BytesIO(text.encode()), tag="course/my-version", rm=True
)

check("08-version", mine)
