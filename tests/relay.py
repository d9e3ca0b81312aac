"""Brings connections to one address to another, as in `relay.py 127.0.0.1:9092 broker.sock http.sock 127.0.0.1:7878`.

Each pair says where to listen and where to connect: host:port, or the path of a Unix socket. A process in a network name
space of its own reaches nothing else of this machine; such sockets are files, and those it shares with the others.

Ends when stdin does, as it does with the process that has started this one.
"""

import asyncio
import sys

CHUNK_BYTES = 1 << 16
# A process of ours has a few; without a limit, one that went wrong would take all files of this machine.
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


async def pour(reader, writer):
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


async def relay(address, reader, writer):
    """Until either end has closed: neither Kafka nor HTTP goes on with half of a connection."""
    global open_connections
    open_connections += 1
    writers, pours = [writer], []
    try:
        if open_connections <= CONNECTIONS_MAX:
            far_reader, far_writer = await connect(address)
            writers.append(far_writer)
            pours = [asyncio.create_task(pour(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            done, _ = await asyncio.wait(pours, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
    except OSError:
        # Whoever is at the near end sees it close, and knows what to do.
        pass
    finally:
        open_connections -= 1
        for one in pours:
            one.cancel()
        for one in writers:
            one.close()


async def main(addresses):
    servers = []
    for here, there in zip(addresses[::2], addresses[1::2], strict=True):
        servers.append(await listen(here, lambda reader, writer, there=there: relay(there, reader, writer)))
    await asyncio.to_thread(sys.stdin.buffer.read)


asyncio.run(main(sys.argv[1:]))
