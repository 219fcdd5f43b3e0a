"""A connection of the server, and the commands that are about it or the server."""

import fnmatch
from typing import Any, Literal

from database import Commands, Database, WrongNumber, integer
from erlang import reactor
from resp import OK, CommandError, Parser, ProtocolError, Reply, Status, put_error, put_reply

VERSION = b"7.0.0"
SETTINGS = {b"save": b"", b"appendonly": b"no", b"databases": b"1"}
#: While so much is to be written, further requests of a pipeline are not looked at.
MOST_UNWRITTEN = 1 << 16

Action = Literal["continue", "write_pending", "close"]


class Connection(reactor.Protocol):
    command = Commands()

    def __init__(self, database: Database) -> None:
        self.database = database
        self.parser = Parser()
        self.name: bytes | None = None
        self.leaves = False

    def data_received(self, data: Any) -> Action:
        self.parser.feed(data)
        return self.serve()

    def write_ready(self) -> Action:
        return self.serve()

    def serve(self) -> Action:
        """Answers the requests that are whole; what is to be done next."""
        try:
            while len(self.write_buffer) < MOST_UNWRITTEN:
                request = self.parser.next()
                if request is None:
                    return "continue"
                self.answer(request)
                if self.leaves:
                    return "close"
        except ProtocolError as error:
            put_error(self.write_buffer, f"ERR Protocol error: {error}")
            return "close"
        return "write_pending"

    def answer(self, request: list[bytes]) -> None:
        try:
            put_reply(self.write_buffer, self.execute(*request))
        except CommandError as error:
            put_error(self.write_buffer, str(error))

    def execute(self, name: bytes, *arguments: bytes) -> Reply:
        whose: Connection | Database = self.database
        found = Database.command.get(name.lower())
        if found is None:
            whose, found = self, Connection.command.get(name.lower())
        if found is None:
            raise CommandError(unknown(name, arguments))
        try:
            if found.least <= len(arguments) <= found.most:
                return found.call(whose, *arguments)
        except WrongNumber:
            pass
        text = name.lower().decode("latin-1")
        raise CommandError(f"ERR wrong number of arguments for '{text}' command")

    @command
    def ping(self, message: bytes = Status(b"PONG")) -> Reply:
        return message

    @command
    def echo(self, message: bytes) -> Reply:
        return message

    @command
    def select(self, number: bytes) -> Reply:
        if integer(number) != 0:
            raise CommandError("ERR DB index is out of range")
        return OK

    @command
    def hello(self, version: bytes = b"2", *options: bytes) -> Reply:
        if version != b"2":
            raise CommandError("NOPROTO unsupported protocol version")
        told = {b"server": b"redis", b"version": VERSION, b"proto": 2, b"id": self.fd}
        told |= {b"mode": b"standalone", b"role": b"master", b"modules": []}
        return [word for item in told.items() for word in item]

    @command
    def client(self, word: bytes, *arguments: bytes) -> Reply:
        match word.upper(), arguments:
            case b"SETNAME", (name,):
                self.name = name or None
            case b"SETINFO", (_, _):
                pass
            case b"GETNAME", ():
                return self.name
            case b"ID", ():
                return self.fd
            case _:
                raise CommandError(f"ERR unknown subcommand '{word.decode('latin-1')}'")
        return OK

    @command
    def config(self, word: bytes, pattern: bytes) -> Reply:
        if word.upper() != b"GET":
            raise CommandError(f"ERR unknown subcommand '{word.decode('latin-1')}'")
        names = fnmatch.filter(SETTINGS, pattern)
        return [text for name in names for text in (name, SETTINGS[name])]

    @command
    def command_(self, word: bytes = b"", *arguments: bytes) -> Reply:
        """Clients ask for descriptions, and do without."""
        return len(Database.command) + len(Connection.command) if word.upper() == b"COUNT" else []

    @command
    def info(self, *sections: bytes) -> Reply:
        keys = len(self.database.there())
        return (
            b"# Server\r\nredis_version:%b\r\nredis_mode:standalone\r\n\r\n"
            b"# Keyspace\r\ndb0:keys=%d,expires=%d,avg_ttl=0\r\n"
        ) % (VERSION, keys, len(self.database.deadlines))

    @command
    def quit(self, *arguments: bytes) -> Reply:
        self.leaves = True
        return OK


def unknown(name: bytes, arguments: tuple[bytes, ...]) -> str:
    told = "".join(f"'{one[:128].decode('latin-1')}' " for one in arguments[:10])
    start = name[:128].decode("latin-1")
    return f"ERR unknown command '{start}', with args beginning with: {told}"
