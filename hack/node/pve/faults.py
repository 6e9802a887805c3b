"""Faults that a test switches on. Each is a file in the node's `faults` directory; a fault that
happens a limited number of times is used up by unlinking, so that of two calls one gets it."""

import json
import os
import signal
import sys
import time


class Faults:
    def __init__(self, node):
        self.dir = node.faults

    def on(self, name):
        """Whether a lasting fault is switched on."""
        return (self.dir / name).exists()

    def value(self, name):
        try:
            return (self.dir / name).read_text().strip()
        except OSError:
            return None

    def take(self, name):
        """Uses up one occurrence of a fault."""
        for path in sorted(self.dir.glob(f"{name}@*")):
            try:
                path.unlink()
                return True
            except FileNotFoundError:
                continue
        return False

    def point(self, name):
        """A place where a call may be slow, fail or die; `name` is like `pct start:before`."""
        wait = self.value("slow")
        if wait and name.endswith(":before"):
            time.sleep(float(json.loads(wait).get(name.split(":")[0], 0)))
        for path in sorted(self.dir.glob("at-*.json")):
            fault = self.read(path)
            if fault is None or fault["at"] != name or not self.use(path, fault):
                continue
            self.carry_out(fault)

    @staticmethod
    def read(path):
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            return None

    @staticmethod
    def use(path, fault):
        if fault.get("always"):
            return True
        try:
            path.unlink()
            return True
        except FileNotFoundError:
            return False

    @staticmethod
    def carry_out(fault):
        time.sleep(fault.get("sleep", 0))
        if fault["do"] == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault["do"] == "fail":
            sys.stderr.write(fault.get("text", "") + "\n")
            sys.stderr.flush()
            os._exit(fault.get("rc", 255))
