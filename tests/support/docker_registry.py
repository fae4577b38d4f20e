"""Debian's docker-registry on a free port of loopback, for tests that push to and pull from a registry somebody else wrote."""
import re
import socket
import subprocess
import time

from ollamax_server import free_port


class DockerRegistry:
    def __init__(self, root, tls=None, realm=None, certificate=None, port=None):
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        lines = ["version: 0.1", "log: {accesslog: {disabled: false}, level: info}", f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}"]
        http_part = f"addr: 127.0.0.1:{self.port}"
        if tls:
            http_part += f", tls: {{certificate: {tls[0]}, key: {tls[1]}}}"
        lines.append(f"http: {{{http_part}}}")
        if realm:
            lines.append(f"auth: {{token: {{realm: {realm}, service: test, issuer: issuer, rootcertbundle: {certificate}}}}}")
        root.mkdir(parents=True, exist_ok=True)
        (root / "config.yml").write_text("\n".join(lines) + "\n")
        self.log_path = root / "log"
        self.process = subprocess.Popen(["docker-registry", "serve", str(root / "config.yml")], stdout=open(self.log_path, "w"), stderr=subprocess.STDOUT)
        for _ in range(200):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("docker-registry did not start: " + self.log_path.read_text())

    def close(self):
        self.process.kill()
        self.process.wait()

    def requests(self):
        """(method, path, status, bytes sent) of each line of the access log."""
        found = re.findall(r'"(GET|HEAD|POST|PATCH|PUT) (\S+) HTTP/1\.[01]" (\d+) (\d+)', self.log_path.read_text())
        return [(method, path, int(status), int(size)) for method, path, status, size in found]
