"""Prints what Python programs print when something goes wrong."""
import asyncio
import concurrent.futures
import json
import logging
import sys
import threading
import traceback
import warnings

logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
log = logging.getLogger("app")

def read(depth):
    if depth:
        return read(depth - 1)
    return {}["name"]

log.info("started")
try:
    read(5)
except KeyError:
    log.exception("request failed")
try:
    try:
        json.loads("{broken")
    except ValueError as thrown:
        raise RuntimeError("no config") from thrown
except RuntimeError:
    log.exception("again")
try:
    try:
        read(0)
    finally:
        [][1]
except IndexError:
    traceback.print_exc()
log.warning("slow")
try:
    eval("1 +* 2")
except SyntaxError:
    log.exception("bad code")
try:
    raise ExceptionGroup("both", [ValueError("one"), ExceptionGroup("inner", [TypeError("two")])])
except ExceptionGroup:
    log.exception("group")
def endless(n):
    return endless(n + 1)
try:
    endless(0)
except RecursionError:
    log.exception("too deep")
class Told(Exception):
    pass
try:
    thrown = Told("with a note")
    thrown.add_note("the note")
    raise thrown
except Told:
    log.exception("noted")
log.info("before the thread")
thread = threading.Thread(target=read, args=(1,), name="worker")
thread.start()
thread.join()
log.info("before the pool")
with concurrent.futures.ThreadPoolExecutor(1) as pool:
    try:
        pool.submit(read, 1).result()
    except KeyError:
        log.exception("in the pool")
async def main():
    asyncio.get_running_loop().call_soon(read, 0)
    await asyncio.sleep(0.01)
asyncio.run(main())
log.info("at the end")
raise Told
