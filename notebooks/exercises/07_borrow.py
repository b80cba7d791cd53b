# COPY --from= takes the name of an image, too.
import io

text = "FROM debian:trixie-slim\nCOPY --from=course/web /app/manage.py /manage.py\n"
mine = build(client, fileobj=io.BytesIO(text.encode()), tag="course/my-loan")

check("07-borrow", mine)
