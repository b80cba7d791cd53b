# Another command is enough; another app.py would do as well.
# In a terminal: the two lines in a Dockerfile, then `docker build -t course/my-words .`
text = 'FROM course/first\nCMD ["echo", "I was built by me."]\n'
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-words")

check("04-own-words", mine)
