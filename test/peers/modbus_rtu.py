#!/usr/bin/python3
"""Modbus RTU units made with pymodbus (Debian), on a serial line or over TCP.

Usage: modbus_rtu.py tcp | modbus_rtu.py DEVICE [baud]
Units 1, 2 and 3 hold 400 addresses of every table, unit 9 is silent. Commands
come over stdin, one JSON a line, each answered by a line on stdout:

  {"unit": 1, "fc": 3, "address": 7, "set": [1, 2]}   -> {}
  {"unit": 1, "fc": 3, "address": 7, "get": 2}        -> {"values": [1, 2]}

The first line is {"port": n}, 0 on a serial line. Registers are as on the wire:
what makes a number of them is the test's to say.
"""
import asyncio
import json
import sys
import threading

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server.async_io import ModbusSerialServer, ModbusTcpServer
from pymodbus.transaction import ModbusRtuFramer


def unit():
    block = lambda: ModbusSequentialDataBlock(0, [0] * 400)
    return ModbusSlaveContext(di=block(), co=block(), hr=block(), ir=block(), zero_mode=True)


units = {n: unit() for n in (1, 2, 3)}
context = ModbusServerContext(slaves=units, single=False)


def obey():
    for line in sys.stdin:
        c = json.loads(line)
        answer = {}
        if "set" in c:
            units[c["unit"]].setValues(c["fc"], c["address"], c["set"])
        if "get" in c:
            answer["values"] = [int(v) for v in units[c["unit"]].getValues(c["fc"], c["address"], c["get"])]
        print(json.dumps(answer), flush=True)
    import os

    os._exit(0)


async def main():
    if sys.argv[1] == "tcp":
        server = ModbusTcpServer(context, framer=ModbusRtuFramer, address=("127.0.0.1", 0), ignore_missing_slaves=True)
        task = asyncio.create_task(server.serve_forever())
        await server.serving
        port = server.server.sockets[0].getsockname()[1]
    else:
        baud = int(sys.argv[2]) if len(sys.argv) > 2 else 19200
        server = ModbusSerialServer(context, framer=ModbusRtuFramer, port=sys.argv[1], baudrate=baud, timeout=0.005, ignore_missing_slaves=True)
        await server.start()
        task = asyncio.create_task(server.serve_forever())
        port = 0
    print(json.dumps({"port": port}), flush=True)
    threading.Thread(target=obey, daemon=True).start()
    await task


asyncio.run(main())
