"""A PostgreSQL server of the tests' own: a new cluster in a temporary folder, reached through a socket there, gone at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

OWNER = "tuition"  # the database user that the tests are
SETTINGS = {  # nothing here outlives the tests, so nothing needs to reach the disk
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "80",
    "autovacuum": "off",
    "logging_collector": "off",
    "lc_messages": "C",
}
ACCESS = "local all locked scram-sha-256\nlocal all all trust\n"  # pg_hba.conf: `locked` needs its password


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: from the PATH, or where Debian keeps them, newest first."""
    found = [Path(path).resolve().parent for name in ("postgres", "initdb") if (path := shutil.which(name))]
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(debian, key=lambda bin: [int(n) for n in bin.parent.name.split(".") if n.isdigit()], reverse=True)
    return next((bin for bin in found if all((bin / name).exists() for name in ("initdb", "postgres"))), None)


class Server:
    """A cluster that runs until `stop()`; `start()` runs it again, at the same address and with the same data."""

    def __init__(self, bin: Path, folder: Path, **settings: str):
        self.bin, self.folder, self.log, self.number = bin, folder, folder / "log", 0
        self.settings = SETTINGS | settings
        self.process: subprocess.Popen | None = None
        self.user = _owner()
        folder.chmod(0o755)
        if self.user:
            shutil.chown(folder, self.user)
        options = ["--no-sync", "--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--locale=C"]
        if self._launch([bin / "initdb", "-D", folder / "data", *options]).wait(60):
            raise RuntimeError(self.log.read_text()[-3000:])
        (folder / "data/pg_hba.conf").write_text(ACCESS)
        self.start()

    def start(self) -> None:
        settings = [word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")]
        command = [self.bin / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings]
        if shutil.which("setpriv"):  # should the tests be killed, the kernel ends the server
            command = ["setpriv", "--pdeathsig", "INT", *command]
        self.process = self._launch(command)
        deadline = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()[-3000:]) from None
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: ends all connections and shuts down; SIGQUIT: as a crash, recovered from at the next start."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def url(self, database: str, user: str = OWNER, password: str = "") -> str:
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@/{database}?host={quote(str(self.folder))}"

    def sql(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def new_database(self, options: str = "") -> str:
        """The URL of a new, empty database."""
        self.number += 1
        self.sql(f"CREATE DATABASE ledger{self.number} TEMPLATE template0 {options}")
        return self.url(f"ledger{self.number}")

    def drop(self, url: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {psycopg.conninfo.conninfo_to_dict(url)['dbname']} WITH (FORCE)")

    def _launch(self, command: list) -> subprocess.Popen:
        as_user = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **as_user,
            )


def _owner() -> str | None:
    """PostgreSQL does not run as root: the user that it shall be then."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def server(bin: Path, **settings: str) -> Iterator[Server]:
    """A running Server in a folder with a short name (a socket's path has at most 107 bytes), removed at the end."""
    with tempfile.TemporaryDirectory(prefix="tuition-pg-", ignore_cleanup_errors=True) as folder:
        running = Server(bin, Path(folder), **settings)
        try:
            yield running
        finally:
            running.stop()
