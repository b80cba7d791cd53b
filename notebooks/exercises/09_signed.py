# A label is a word in the image's configuration. In a terminal: `docker inspect
#   course/my-calculator`
import io

text = "FROM course/calculator\nLABEL org.opencontainers.image.authors='Ada'\n"
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-calculator")

check("09-signed", mine)
