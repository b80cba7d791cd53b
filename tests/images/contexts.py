"""Folders to build, with what is hard to send: patterns of .dockerignore, links, modes, names."""

import os
import socket
from pathlib import Path

ALL = "FROM scratch\nCOPY . /\n"
NAMES = [
    "a", "b.md", "README.md", "secret", ".hidden", "sub/a", "sub/b.md", "sub/.hidden", "sub/deep/a", "sub/deep/c.txt",
    "x/y/z/w", "sub-a", "Sub", "space name/f i", "ümlaut/ß.txt", "[b]racket", "star*name", "back\\slash", "a$",
]  # fmt: skip


def write(top, *names):
    """Write files whose content is their name."""
    for name in names or NAMES:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)


def links(top):
    """Relative, absolute, dangling, to a folder, a chain, out of the folder, to itself."""
    write(top)
    targets = {
        "relative": "a", "absolute": "/etc/passwd", "dangling": "nowhere", "to-folder": "sub", "chain": "relative",
        "outside": "../outside", "sub/itself": "itself", "sub/parent": "..",
    }  # fmt: skip
    for name, target in targets.items():
        (top / name).symlink_to(target)


def hard_links(top):
    """One file by three names, the first of them not the first in order."""
    write(top)
    os.link(top / "secret", top / "0secret")
    os.link(top / "secret", top / "sub" / "secret")


def modes(top):
    """Set-uid, set-gid, sticky, for the owner only, executable."""
    write(top)
    wanted = {"a": 0o4755, "secret": 0o600, "b.md": 0o2755, "sub": 0o1777, "x": 0o700, "README.md": 0o777}
    for name, mode in wanted.items():
        (top / name).chmod(mode)


def special(top):
    """A pipe, a socket, folders with nothing in them, an empty file."""
    write(top)
    os.mkfifo(top / "fifo", 0o644)
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(top)  # a socket's path has to be short
        server.bind("socket")
        os.chdir(here)
    (top / "socket").chmod(0o755)
    (top / "empty" / "inner").mkdir(parents=True)
    (top / "nothing").touch()


PATTERNS = {  # .dockerignore, each as bytes
    "BOM": b"\xef\xbb\xbfsecret\n",
    "BOM and CRLF": b"\xef\xbb\xbfsecret\r\nb.md\r\n",
    "Latin-1 comment": b"# caf\xe9\nsecret\n",
    "Latin-1 pattern": b"caf\xe9\nsecret\n",
    "*": b"*.md\n",
    "**": b"**/*.md\n",
    "** before a name": b"**/a\n",
    "** after a folder": b"sub/**\n",
    "** in between": b"x/**/w\n",
    "** in a name": b"**md\n",
    "** alone, one back": b"**\n!a\n",
    "all": b"*\n",
    "all, a folder back": b"*\n!sub/deep\n",
    "all, some back": b"*\n!**/*.txt\n",
    "a folder, a file back": b"sub\n!sub/deep/c.txt\n",
    "back and away": b"sub\n!sub/a\nsub/a\n",
    "back in part": b"*\n!sub\nsub/deep\n",
    "back without cause": b"!a\n",
    "trailing slash": b"sub/\n",
    "leading slash": b"/secret\n/sub/a\n",
    "dots": b"./secret\n../b.md\nsub/../a\n",
    "?": b"?.md\n",
    "set": b"[ab]\n[r-t]*\n",
    "set of others": b"[^a]\n",
    "set with !": b"[!a]\n",
    "escaped": b"\\[b\\]racket\nstar\\*name\nback\\\\slash\n",
    "spaces and #": b"  secret  \n\n # a\n#b.md\n",
    "space after !": b"*\n! a\n",
    "letter case": b"SECRET\nsub\n",
    "regular expression": b"a$\n(a|b)\na+\n.*d\n",
    "hidden": b"**/.*\n",
    "umlaut": "ümlaut/*.txt\nspace name\n".encode(),
    "Dockerfile": b"Dockerfile\n.dockerignore\n",
    "only .": b".\n/\n",
    "no end of line": b"secret",
    "three stars": b"***\n!a\n",
}
BAD_PATTERNS = {"[": b"[\n", "open set": b"a[\nsecret\n", "!": b"!\n", "empty set": b"[]a]\n", "downwards": b"[z-a]\n"}
OTHERS = {  # what is written, the Dockerfile's place, its text
    "plain": (write, "Dockerfile", ALL),
    "links": (links, "Dockerfile", ALL),
    "hard links": (hard_links, "Dockerfile", ALL),
    "modes": (modes, "Dockerfile", ALL),
    "special files": (special, "Dockerfile", ALL),
    "lower case": (write, "dockerfile", ALL),
    "its own .dockerignore": ({".dockerignore": "a\n", "D.dockerignore": "secret\n"}, "D", ALL),
    "in a folder": ({"sub/.dockerignore": "secret\n", "sub/D.dockerignore": "b.md\n"}, "sub/D", ALL),
    "outside": (write, "../other/D", ALL),
    "outside, with its own": ({"../other/D.dockerignore": "secret\n"}, "../other/D", ALL),
    "one folder": (write, "Dockerfile", "FROM scratch\nCOPY sub/deep /d/\n"),
    "by pattern": (write, "Dockerfile", "FROM scratch\nCOPY *.md sub/*.md /d/\n"),
    "by pattern of folders": (write, "Dockerfile", "FROM scratch\nCOPY */a /d/\n"),
    "a link to a folder": (links, "Dockerfile", "FROM scratch\nCOPY to-folder /d/\nCOPY to-folder/deep /e/\n"),
    "a chain of links": (links, "Dockerfile", "FROM scratch\nCOPY chain /d/\nCOPY rel* chain* /e/\n"),
    "what is left out": ({".dockerignore": "sub/b.md\n"}, "Dockerfile", "FROM scratch\nCOPY sub /d/\n"),
    "owner and mode": (write, "Dockerfile", "FROM scratch\nCOPY --chown=5:6 --chmod=640 a b.md /\n"),
    "strange names": (write, "Dockerfile", 'FROM scratch\nCOPY [[]b]racket /d/\nCOPY ["space name", "/d/"]\n'),
    "several": (write, "Dockerfile", "FROM scratch\nCOPY a /d/\nCOPY b.md sub/a /d/\nCOPY x/y /d/y\n"),
    "with slashes": (write, "Dockerfile", "FROM scratch\nCOPY /sub/ /d\nCOPY ./x/. /d\nCOPY sub/../a ../b.md /e/\n"),
}
FAILING = {"dangling": "COPY dangling /\n", "absolute": "COPY absolute /\n", "outside": "COPY outside /\n"}


def made(top, name):
    """Write the folder of a case; return the path of its Dockerfile, seen from there."""
    top.mkdir()
    content, dockerfile, text = OTHERS.get(name) or (write, "Dockerfile", ALL)
    if name in PATTERNS or name in BAD_PATTERNS:
        write(top)
        (top / ".dockerignore").write_bytes({**PATTERNS, **BAD_PATTERNS}[name])
    elif isinstance(content, dict):
        write(top)
        for path, words in content.items():
            (top / path).parent.mkdir(exist_ok=True)
            (top / path).write_text(words)
    else:
        content(top)
    (top / dockerfile).parent.mkdir(exist_ok=True)
    (top / dockerfile).write_text(text)
    return dockerfile
