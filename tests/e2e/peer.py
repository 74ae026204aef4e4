#!/usr/bin/env python3
"""A small HTTP server on the kernel's own sockets, the peer of millrace-load: /, /bytes/N (byte i is i modulo 251) and
PUT /sum (answers with the count and CRC-32 of the body). Arguments: the port, and "echo" for a raw echo server."""
import asyncio
import sys
import zlib

PERIOD = bytes(i % 251 for i in range(251)) * 1044
PAGE = b"<h1>Hello from the kernel, not from Millrace</h1>\n"


def head(length, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n".encode()


async def send_pattern(writer, total):
    writer.write(head(total))
    while total > 0:
        piece = PERIOD[:total]
        writer.write(piece)
        total -= len(piece)
        await writer.drain()


async def sum_body(reader, writer, total):
    crc, left = 0, total
    while left > 0:
        piece = await reader.read(min(left, 1 << 18))
        if not piece:
            return
        crc, left = zlib.crc32(piece, crc), left - len(piece)
    body = f"{total} bytes, crc32 {crc:08x}\n".encode()
    writer.write(head(len(body)) + body)


async def serve(reader, writer):
    try:
        while True:
            request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path = request.split()[:2]
            fields = dict(line.lower().split(": ", 1) for line in request.split("\r\n")[1:] if ": " in line)
            if method == "PUT":
                await sum_body(reader, writer, int(fields.get("content-length", "0")))
            elif path.startswith("/bytes/"):
                await send_pattern(writer, int(path[7:]))
            elif path in ("/", "/small"):
                writer.write(head(len(PAGE)) + PAGE)
            else:
                writer.write(head(0, "404 Not Found"))
            await writer.drain()
            if fields.get("connection") == "close":
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def echo(reader, writer):
    try:
        while piece := await reader.read(1 << 18):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    handler = echo if "echo" in sys.argv[2:] else serve
    servers = [await asyncio.start_server(handler, host, int(sys.argv[1]), backlog=4096, limit=1 << 20)
               for host in ("0.0.0.0", "::")]
    print("listening", flush=True)
    await asyncio.gather(*(s.serve_forever() for s in servers))


asyncio.run(main())
