"""The peer made with websockets. See README.md, one folder up, for what a peer does."""

import asyncio
import json
import os
import platform
import sys
import threading
import types
import zlib

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions import permessage_deflate


class Decompressor:
    """Finds a distance beyond the window.

    zlib itself does only if that leads out of the output under way as well,
    which may have any length. Here it has 64 bytes at a time.
    """

    def __init__(self, wbits):
        self.decompressor = zlib.decompressobj(wbits)
        self.unconsumed_tail = b""

    def decompress(self, data, max_length=0):
        out = bytearray()
        while True:
            step = self.decompressor.decompress(data, 64)
            out += step
            data = self.decompressor.unconsumed_tail
            if not data and len(step) < 64:
                return bytes(out)


permessage_deflate.zlib = types.SimpleNamespace(**{**vars(zlib), "decompressobj": Decompressor})


def main(role, url=None, urls=None, deflate=None, subprotocols=None):
    if role == "version":
        print(f"websockets {websockets.__version__}, Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}")
        return
    threading.Thread(target=end_with_input, daemon=True).start()
    roles = {"server": lambda: run_server(deflate, subprotocols), "client": lambda: run_client(urls or [url], deflate, subprotocols)}
    asyncio.run(roles[role]())


def end_with_input():
    while os.read(0, 1024):
        pass
    os._exit(0)


def compression(deflate, factory):
    """Returns the arguments of serve or connect that make it want deflate."""
    if not deflate:
        return {"compression": None if deflate is None else "deflate"}
    names = {
        "serverMaxWindowBits": "server_max_window_bits",
        "clientMaxWindowBits": "client_max_window_bits",
        "serverNoContextTakeover": "server_no_context_takeover",
        "clientNoContextTakeover": "client_no_context_takeover",
    }
    wanted = {names[name]: value for name, value in deflate.items()}
    return {"compression": None, "extensions": [factory(**wanted)]}


async def run_server(deflate, subprotocols):
    wanted = compression(deflate, permessage_deflate.ServerPerMessageDeflateFactory)

    async def handle(connection):
        try:
            await attend(connection, connection.request.path)
        except Exception as err:
            print(repr(err), file=sys.stderr, flush=True)
            os._exit(1)

    async with serve(handle, "127.0.0.1", 0, subprotocols=subprotocols, **wanted) as server:
        host, port = server.sockets[0].getsockname()
        print(f"listening on {host}:{port}", flush=True)
        await server.serve_forever()


async def run_client(urls, deflate, subprotocols):
    wanted = compression(deflate, permessage_deflate.ClientPerMessageDeflateFactory)
    for url in urls:
        async with connect(url, proxy=None, subprotocols=subprotocols, **wanted) as connection:
            await attend(connection, url)


async def attend(connection, url):
    """Does what url says with connection, and says how it has ended."""
    mode = url.rpartition("/")[2] or "fragments_by_seven"
    try:
        async for message in connection:
            await modes[mode](connection, message)
    except websockets.ConnectionClosedError as err:
        print(err, file=sys.stderr, flush=True)
    code, reason = connection.close_code, connection.close_reason
    print(f"closed {code} {reason}".strip(), flush=True)
    if mode == "fragments_by_seven" and code != 1000:
        raise RuntimeError(f"closed with {code} {reason}")


async def fragments_by_seven(connection, message):
    """Sends some messages in fragments."""
    half = len(message) // 2
    if len(message) % 7 == 0:
        await connection.send([message[:half], message[half:]])
    else:
        await connection.send(message)


async def echo(connection, message):
    await connection.send(message)


async def fragments(connection, message):
    third = len(message) // 3
    await connection.send([message[:third], message[third : 2 * third], message[2 * third :]])


async def ping(connection, message):
    await (await connection.ping(message))
    await connection.send("pong " + message)


async def subprotocol(connection, message):
    await connection.send(connection.subprotocol)


async def close(connection, message):
    code, _, reason = message.partition(" ")
    await connection.close(int(code), reason)


async def cut(connection, message):
    connection.transport.abort()


modes = {function.__name__: function for function in (fragments_by_seven, echo, fragments, ping, subprotocol, close, cut)}

main(**json.loads(sys.argv[1]))
