"""Exercises of 07: multi-stage builds."""

from helpers.containers.outcome import brief_container
from helpers.images.contents import read_file
from helpers.images.layers import size
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import end_of_text, published_page


@exercise("07-smaller", "image", "which two files are needed when it runs? How do the others come in?")
def small_web_server(client, image):
    """Make the image of the small web server smaller than 20 MB; it still has to answer."""
    with brief_container(client, image, ports={"8000/tcp": None}) as (web, said):
        page = None
        if web:
            page = published_page(web)
            said = web.logs(tail=5).decode(errors="replace")
    answers = page and page.strip() == b"Here I am."
    yield "it answers on port 8000", answers, f"it said: {end_of_text(said)}. Is the page there, too?"
    mb = size(image) / 1e6
    yield f"it is smaller than 20 MB (it has {mb:.3g} MB)", mb < 20, "what does the last FROM begin with?"


@exercise("07-borrow", "image", "COPY --from= takes the name of a stage. What else could stand there?")
def borrowed_file(client, image):
    """Make an image of Debian that has the file manage.py of course/web, and nothing else of it."""
    found = read_file(image, "/manage.py")
    yield "it has a file /manage.py", found is not None, "to which path did you copy it?"
    web = client.images.get("course/web")
    same = found == read_file(web, "/app/manage.py")
    yield "with the same content", same, "was it copied out of the image, or written again?"
    built_on_it = web.attrs["RootFS"]["Layers"][-1] in image.attrs["RootFS"]["Layers"]
    apart = not built_on_it and read_file(image, "/app/manage.py") is None
    yield "it begins from another image than course/web", apart, "what does the last FROM name?"
    alone = read_file(image, "/requirements.txt") is None and read_file(image, "/demo/views.py") is None
    yield "and nothing else comes from there", alone, "COPY takes a file as well as a folder. What did you name?"
    yield "and it has Debian's shell", read_file(image, "/usr/bin/dash") is not None, "what does FROM name?"
