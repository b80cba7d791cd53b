# A label is a word in the image's configuration. In a terminal, in
#   `notebooks/apps/calculator`: `docker build --label org.opencontainers.image.authors=Ada
#   -t course/my-calculator .`, then `docker inspect course/my-calculator`
import io

text = "FROM course/calculator\nLABEL org.opencontainers.image.authors='Ada'\n"
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-calculator")

check("09-signed", mine)
