# COPY --from= takes the name of an image, too.
import io

text = f"FROM {base.tags[0]}\nCOPY --from=course/web /app/manage.py /manage.py\n"
mine, _ = client.images.build(fileobj=io.BytesIO(text.encode()), tag="course/my-loan", rm=True)

check("07-borrow", mine)
