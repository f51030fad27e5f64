"""Streams a program with Debian's python3-websockets: what it prints comes while
it runs, as the input that it waits for is only sent then. Prints what came, in
its order."""

import asyncio
import json
import sys

import websockets


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.last = 0
        self.told = []

    async def receive(self):
        message = json.loads(await self.socket.recv())
        if "method" in message:
            self.told.append(message)
        return message

    async def call(self, method, params):
        self.last += 1
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}))
        while True:
            message = await self.receive()
            if message.get("id") == self.last:
                return message["result"]

    async def until(self, method, what=lambda params: True):
        """Waits for a notification, which may have come already."""
        while True:
            for message in self.told:
                if message["method"] == method and what(message["params"]):
                    return message["params"]
            await self.receive()


PROGRAM = """
name = input("Who? ")
print(f"Hello, {name}!")
"""


async def main(url):
    async with websockets.connect(url) as socket:
        client = Client(socket)
        session = (await client.call("session.create", {"language": "python"}))["sessionId"]
        started = await client.call("session.execute", {
            "sessionId": session, "stream": True,
            "command": {"type": "execute_code", "code": PROGRAM, "background": True},
        })
        execution = started["result"]["executionId"]
        await client.until("execution.output", lambda params: params["text"] == "Who? ")
        await client.call("execution.input", {"executionId": execution, "data": "Zoë €😀\n"})
        await client.until("execution.completed")
        closed = await client.call("session.close", {"sessionId": session})
        print(json.dumps({
            "told": [message["method"] for message in client.told],
            "text": "".join(message["params"].get("text", "") for message in client.told),
            "exitCode": (await client.until("execution.completed"))["exitCode"],
            "closed": closed["closed"],
        }))


asyncio.run(main(sys.argv[1]))
