"""One progress bar for everything: tqdm, as text in a terminal, as a small picture in a notebook."""

import io
import sys

from tqdm import tqdm


def progress(total, desc, unit="step", **tqdm_arguments):
    """
    Return a tqdm bar that goes away when it is closed.

    In a notebook it is drawn as an SVG picture, not as a widget: a stored notebook then opens without
    "model not found", and nbval has nothing that changes to compare.

    Example::

        with progress(total=9, desc="building") as bar:
            bar.update(1)
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None):
        return _NotebookBar(total=total, desc=desc, unit=unit, leave=False, **tqdm_arguments)
    # disable=None: no bar where the output is not a terminal, such as a log file
    return tqdm(total=total, desc=desc, unit=unit, leave=False, disable=None, **tqdm_arguments)


class _NotebookBar(tqdm):
    monitor_interval = 0

    def __init__(self, *args, **kwargs):
        from IPython.display import display

        self.handle = display({"text/plain": ""}, raw=True, display_id=True)
        super().__init__(*args, file=io.StringIO(), **kwargs)

    def display(self, msg=None, pos=None):
        data = {"text/plain": ""}
        if msg != "":  # tqdm asks for the empty text when a bar that does not stay is closed
            data["image/svg+xml"] = _svg(self.n, self.total, self._words())
        self.handle.update(data, raw=True)
        return True

    def _words(self):
        now = self.format_dict
        amount, total = now["n"], now["total"] or 0
        if now["unit_scale"]:
            amount, total = tqdm.format_sizeof(amount), tqdm.format_sizeof(total)
        words = f"{now['prefix']} {amount} of {total} {now['unit']}, {tqdm.format_interval(now['elapsed'])}"
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
