# What changes rarely comes first: the slow step needs requirements.txt only.
mine = """
FROM debian:trixie-slim
WORKDIR /app
COPY requirements.txt .
# stands for pip install, which takes long
RUN cat requirements.txt /proc/sys/kernel/random/uuid > installed
COPY . .
"""

check("05-order", mine)
