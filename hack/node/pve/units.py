"""The service manager: one daemon that starts `lxc-start -F -n VMID` in the host's mount namespace,
with no standard input or output and standard error in a file, as systemd does for
`pve-container@VMID`. Containers are its children, never those of who asked."""

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time

from .place import Node


class Unit:
    def __init__(self):
        self.process = None
        self.result = "success"
        self.code = 0
        self.active = "inactive"


class Manager:
    def __init__(self, node):
        self.node = node
        self.units = {}
        self.lock = threading.RLock()

    def handle(self, request):
        verb, name = request["verb"], request.get("unit", "")
        with self.lock:
            unit = self.units.setdefault(name, Unit()) if name else None
        return getattr(self, verb.replace("-", "_"))(name, unit)

    def start(self, name, unit):
        with self.lock:
            if unit.active == "active":
                return {"rc": 0}
            vmid = name.partition("@")[2]
            self.node.run.mkdir(parents=True, exist_ok=True)
            with open(self.node.run / f"ct-{vmid}.stderr", "wb") as errors:
                unit.process = subprocess.Popen(
                    ["lxc-start", "-F", "-P", str(self.node.lxc), "-n", vmid],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PVE_SIM_NODE": str(self.node.top)},
                    cwd="/",
                    start_new_session=True,
                )
            unit.active, unit.result, unit.code = "active", "success", 0
            threading.Thread(target=self.watch, args=(name, unit), daemon=True).start()
            return {"rc": 0}

    def watch(self, name, unit):
        process = unit.process
        code = process.wait()
        with self.lock:
            unit.code = code
            unit.result = "success" if code == 0 else "exit-code"
            unit.active = "inactive" if code == 0 else "failed"
        vmid = name.partition("@")[2]
        reboot = self.node.lxc / vmid / "reboot"
        if reboot.exists():
            # The post-stop hook asked for it: Proxmox starts the guest again.
            reboot.unlink()
            self.start(name, unit)

    def stop(self, name, unit):
        vmid = name.partition("@")[2]
        subprocess.run(
            ["lxc-stop", "-P", str(self.node.lxc), "-n", vmid, "-k"],
            capture_output=True,
            check=False,
        )
        end = time.monotonic() + 10
        while unit.active == "active" and time.monotonic() < end:
            time.sleep(0.01)
        return {"rc": 0}

    def is_active(self, name, unit):
        return {"rc": 0 if unit.active == "active" else 3, "text": unit.active}

    def is_failed(self, name, unit):
        return {"rc": 0 if unit.active == "failed" else 1, "text": unit.active}

    def reset_failed(self, name, unit):
        if unit.active == "failed":
            unit.active, unit.result, unit.code = "inactive", "success", 0
        return {"rc": 0}

    def show(self, name, unit):
        lines = {
            "Result": unit.result,
            "ExecMainStatus": unit.code,
            "MainPID": unit.process.pid if unit.process and unit.active == "active" else 0,
            "ActiveState": unit.active,
        }
        return {"rc": 0, "text": "\n".join(f"{k}={v}" for k, v in lines.items()), "unit": lines}

    def quit(self, name, unit):
        """The node goes down: everything that runs dies with it."""
        for running in list(self.units):
            if self.units[running].active == "active":
                self.stop(running, self.units[running])
        threading.Timer(0.05, os._exit, args=(0,)).start()
        return {"rc": 0}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            answer = self.server.manager.handle(json.loads(self.rfile.readline()))
        except (ValueError, KeyError, AttributeError, OSError) as error:
            answer = {"rc": 1, "error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def serve(top):
    node = Node(top)
    server = Server(str(node.units_socket), Handler)
    server.manager = Manager(node)
    server.serve_forever()


def ask(node, request):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(node.units_socket))
        connection.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(connection.makefile().readline())


if __name__ == "__main__":
    serve(sys.argv[1])
