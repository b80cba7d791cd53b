"""One progress bar for everything: tqdm, as text in a terminal, as a small picture in a notebook."""

import html
import io
import sys
import threading

from tqdm import tqdm


def progress(total, desc, unit="step", delay=0, **tqdm_arguments):
    """
    Return a tqdm bar that goes away when it is closed; its clock goes on while nothing happens.

    Without a ``total`` it tells the time only. With ``delay``, it is shown where that many seconds are over: what is
    usually done by then shows nothing. In a notebook it is drawn as an SVG picture, not as a widget: a stored notebook
    then opens without "model not found", and nbval has nothing that changes to compare.

    Example::

        with progress(total=9, desc="building") as bar:
            bar.update(1)
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    options = {"total": total, "desc": desc, "unit": unit, "delay": delay, "leave": False, **tqdm_arguments}
    if getattr(shell, "kernel", None):
        return _NotebookBar(file=io.StringIO(), **options)
    return _Bar(**{"disable": None, **options})  # None: no bar where the output is not a terminal, such as a log file


def aside(line):
    """
    Print a line that not every computer has reason for: in a notebook, as what stored notebooks and tests leave out.

    Example::

        aside("RUN steps that call pip get this computer's certificates")
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not getattr(shell, "kernel", None):
        print(line)
        return
    from IPython.display import display

    display({"text/plain": "", "text/html": f"<p>{html.escape(line)}</p>"}, raw=True)


def is_closed_bar(output):
    """
    Return whether a notebook's output is a bar that has gone, or an ``aside``.

    Where something had to be done there is one, and where not, none: stored notebooks and tests leave it out.
    """
    return output["output_type"] == "display_data" and output["data"].get("text/plain") == ""


class _Bar(tqdm):
    monitor_interval = 0  # tqdm's own thread, which would only draw what is late

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.disable:
            self.over = threading.Event()
            self.clock = threading.Thread(target=self._tick, daemon=True)
            self.clock.start()

    def _tick(self):
        pause = self.delay or 1
        while not self.over.wait(pause):
            self.last_print_t = self._time()  # else tqdm believes that a delayed bar was never shown, and leaves it
            self.refresh()
            pause = 1

    def close(self):
        if hasattr(self, "clock"):
            self.over.set()
            self.clock.join()
        super().close()

    @property
    def format_dict(self):
        counted = f"{{desc}} |{{bar:20}}| {{n_fmt}} of {{total_fmt}} {self._unit()}, {{elapsed}}{{postfix}}"
        return {**super().format_dict, "bar_format": counted if self.total else "{desc}, {elapsed}{postfix}"}

    def _unit(self):
        return self.unit if self.unit == "B" or self.total == 1 else f"{self.unit}s"


class _NotebookBar(_Bar):
    handle = None

    def display(self, msg=None, pos=None):
        from IPython.display import display

        data = {"text/plain": ""}
        if msg != "":  # tqdm asks for the empty text when a bar that does not stay is closed
            data["image/svg+xml"] = _svg(self.n, self.total, self._words())
        if self.handle is None:
            self.handle = display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)
        return True

    def _words(self):
        now = self.format_dict
        amount, total = now["n"], now["total"] or 0
        if now["unit_scale"]:
            amount, total = tqdm.format_sizeof(amount), tqdm.format_sizeof(total)
        counted = f" {amount} of {total} {self._unit()}" if now["total"] else ""
        words = f"{now['prefix']}{counted}, {tqdm.format_interval(now['elapsed'])}"
        return f"{words}, {now['postfix']}" if now["postfix"] else words


def _svg(done, total, words):
    share = min(done / total, 1) if total else 0
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="22" role="img">'
        f"<title>{words}</title>"
        '<rect x="0.5" y="5.5" width="160" height="11" fill="none" stroke="#666"/>'
        f'<rect x="1" y="6" width="{159 * share:.0f}" height="10" fill="#0072b2"/>'
        f'<text x="170" y="15" font-family="sans-serif" font-size="12" fill="#666">{words}</text></svg>'
    )
