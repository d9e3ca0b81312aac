"""Forwards connections between addresses, as in `relay.py 127.0.0.1:9092 broker.sock http.sock
127.0.0.1:7878`.

Each pair of arguments is where to listen and where to connect: host:port, or the path of a Unix
socket. A process in its own network namespace reaches the rest of the machine only through Unix
sockets, because these are files.

Ends when stdin closes, which happens at the latest when the parent process ends.
"""

import asyncio
import sys

CHUNK_BYTES = 1 << 16
# Normal clients use a few; the limit keeps a faulty one from using up the machine's file
# descriptors.
CONNECTIONS_MAX = 256
open_connections = 0


def host_and_port(address):
    host, _, port = address.rpartition(":")
    return (host, int(port)) if host and port.isdigit() else None


async def listen(address, serve):
    tcp = host_and_port(address)
    return await (asyncio.start_server(serve, *tcp) if tcp else asyncio.start_unix_server(serve, address))


async def connect(address):
    tcp = host_and_port(address)
    return await (asyncio.open_connection(*tcp) if tcp else asyncio.open_unix_connection(address))


async def copy(reader, writer):
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


async def relay(address, reader, writer):
    """Forwards until either end closes: neither Kafka nor HTTP uses half-closed connections."""
    global open_connections
    open_connections += 1
    writers, copies = [writer], []
    try:
        if open_connections <= CONNECTIONS_MAX:
            far_reader, far_writer = await connect(address)
            writers.append(far_writer)
            copies = [asyncio.create_task(copy(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            done, _ = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
    except OSError:
        # The client sees its connection close, and handles that.
        pass
    finally:
        open_connections -= 1
        for one in copies:
            one.cancel()
        for one in writers:
            one.close()


async def main(addresses):
    servers = []
    for here, there in zip(addresses[::2], addresses[1::2], strict=True):
        servers.append(await listen(here, lambda reader, writer, there=there: relay(there, reader, writer)))
    await asyncio.to_thread(sys.stdin.buffer.read)


asyncio.run(main(sys.argv[1:]))
