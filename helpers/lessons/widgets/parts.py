"""What the widgets share: a box that leaves a sentence, results as HTML, rows as a table, a button with a thread."""

import html
import threading
from functools import partial

import ipywidgets

FULL_WIDTH = ipywidgets.Layout(width="98%", max_width="900px")
ERROR_CHARACTERS = 1500  # the end of a long text, which says what went wrong


class _BoxWithSentence(ipywidgets.VBox):
    """A box that leaves a sentence where a notebook is read without running it."""

    def _repr_mimebundle_(self, **options):
        data = super()._repr_mimebundle_(**options)
        data["text/plain"] = f"A widget: {self.purpose}. Run this cell to use it."
        return data


def widget_box(purpose, *children):
    """
    Return a box of widgets, one below the other; a stored notebook says ``purpose`` in its place.

    Example::

        widget_box("choose a number, see its square", number, result)
    """
    box = _BoxWithSentence(children)
    box.purpose = purpose
    return box


def result_area(text):
    """
    Return the place for a widget's results, with a text to begin with.

    Example::

        result = result_area("Choose, then run.")
    """
    return ipywidgets.HTML(result_html(html.escape(text), role="group"), layout=FULL_WIDTH)


def result_html(inner, role="alert"):
    """
    Return HTML for a result. A screen reader reads an ``alert`` out as soon as it is put in.

    What changes by itself has the role ``group``, since nobody wants each second or each step read out.

    Example::

        result.value = result_html("<b>done</b>")
    """
    return f'<div class="course-result" role="{role}" style="line-height:1.4">{inner}</div>'


def html_table(titles, rows):
    """
    Return an HTML table; its cells are text.

    Example::

        html_table(["size", "file"], [("2 MB", "/usr/bin/python3")])
    """
    head = "".join(
        f'<th scope="col" style="text-align:left;padding:0 1em 0 0">{html.escape(title)}</th>' for title in titles
    )
    cell = '<td style="padding:0 1em 0 0;vertical-align:top;font-family:monospace;white-space:pre-wrap">{}</td>'
    body = "".join("<tr>" + "".join(cell.format(html.escape(str(one))) for one in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def unbroken(text):
    """
    Return a text that is not broken into lines.

    Example::

        unbroken("1.89 MB")
    """
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def error_html(title, text, above=""):
    """
    Return HTML for what went wrong: a title and the end of a text, below HTML that is there already.

    Example::

        result.value = error_html("It did not work.", str(error))
    """
    return result_html(f"{above}<b>{title}</b><pre>{html.escape(text[-ERROR_CHARACTERS:])}</pre>")


def run_on_click(button, work, result, enable_again=True):
    """
    Have a button call ``work()`` in a thread of its own: cells, and other buttons, need not wait for it.

    ``result`` says at once that it began, and what went wrong. The button is disabled meanwhile, and stays so without
    ``enable_again``.

    Example::

        run_on_click(button, partial(_show_answers, client, image, result), result)
    """
    button.on_click(partial(_start_work, work, result, enable_again))


def _start_work(work, result, enable_again, button):
    button.disabled = True
    result.value = result_html("working …")
    threading.Thread(target=_do_work, args=(work, result, enable_again, button), daemon=True).start()


def _do_work(work, result, enable_again, button):
    try:
        work()
    except Exception as error:  # a thread has nobody else to tell
        result.value = error_html("It did not work.", str(getattr(error, "explanation", None) or error))
    finally:
        button.disabled = not enable_again
