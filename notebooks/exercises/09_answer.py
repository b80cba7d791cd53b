# As `calculate` does, without the removal. In a terminal: `echo '6 * 7' | docker run -i
#   course/calculator`
mine = run(client, multi, stdin_open=True, detach=True)
stdin = mine.attach_socket(params={"stdin": True, "stream": True})
stdin = getattr(stdin, "_sock", stdin)
stdin.sendall(b"6 * 7\n")
stdin.shutdown(socket.SHUT_WR)
mine.wait(timeout=60)

check("09-answer", mine)
