# The last stage begins from nothing, and takes the program and the page.
#   `apps/answer/Dockerfile` does the same.
import io

text = f"""
FROM {base.tags[0]} AS build
LABEL org.docker-course=1
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
RUN mkdir /www && echo 'Here I am.' > /www/index.html

FROM scratch
LABEL org.docker-course=1
COPY --from=build /bin/busybox /busybox
COPY --from=build /www /www
CMD ["/busybox", "httpd", "-f", "-p", "8000", "-h", "/www"]
"""
mine, _ = client.images.build(
    fileobj=io.BytesIO(text.encode()), tag="course/my-answer", rm=True
)

check("07-smaller", mine)
