# In a terminal: `docker run -d --restart on-failure:3 debian:trixie-slim
#   sh -c 'sleep 0.2; exit 1'`, in the end `docker rm -f NAME`
policy = {"Name": "on-failure", "MaximumRetryCount": 3}
mine = run(client, base, ["sh", "-c", "sleep 0.2; exit 1"], detach=True, restart_policy=policy)

check("03-again", mine)
