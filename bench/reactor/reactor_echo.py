"""The echo of bench/reactor, as a protocol of erlpy's reactor."""

from erlang import reactor


class Echo(reactor.Protocol):
    def data_received(self, data):
        self.write_buffer += data
        return "write_pending"
