"""A relay in front of a server that passes on at most so many bytes a second: a network that is slower than the disk of who
reads from it. It counts what it has passed on, which has nearly all arrived; a server counts what its system keeps in buffers."""
import socket
import threading
import time

BUFFER = 64 << 10


class SlowRelay:
    def __init__(self, port, bytes_per_s):
        self.to, self.rate, self.lock, self.free_at, self.n_passed = port, bytes_per_s, threading.Lock(), 0.0, 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)  # accepted connections have the same
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            server.connect(("127.0.0.1", self.to))
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def wait_for(self, size):
        """Until the bytes before these have had their time."""
        with self.lock:
            begin = max(self.free_at, time.monotonic())
            self.free_at = begin + size / self.rate
        time.sleep(max(0.0, begin - time.monotonic()))

    def carry(self, source, target, is_slow):
        try:
            while data := source.recv(BUFFER):
                if is_slow:
                    self.wait_for(len(data))
                target.sendall(data)
                if is_slow:
                    with self.lock:
                        self.n_passed += len(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if not is_slow:
                end.close()
