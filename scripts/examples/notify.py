#!/usr/bin/env python3
"""Posts what concerns people (assigned, escalated, breached, inbox_alarm) to $WEBHOOK_URL as JSON, or prints it when that is unset."""
import json, os, socket, urllib.request
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["LEADLEDGER_SOCKET"])
replies = connection.makefile()
def ask(method, **params):
    connection.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
    reply = json.loads(replies.readline() or '{"error": "the daemon has gone"}')
    return reply["result"] if "result" in reply else exit(json.dumps(reply["error"]))
while True:  # Acked once it is posted: what was cut off in between comes again, with the same dedupe_key.
    for delivery in ask("consumer.claim", group="notifications", wait_ms=60000)["deliveries"]:
        for notification in delivery["notifications"]:
            body = json.dumps({"lead": delivery["event"]["subject"], "time": delivery["event"]["recordedtime"], **notification})
            if url := os.environ.get("WEBHOOK_URL"):
                urllib.request.urlopen(urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"}), timeout=20)
            else:
                print(body, flush=True)
        ask("consumer.ack", group="notifications", tokens=[delivery["token"]])
