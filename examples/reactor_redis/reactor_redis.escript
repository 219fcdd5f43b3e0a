#!/usr/bin/env escript
%%! +Bd -noinput
%% A toy that speaks the protocol of Redis: Erlang accepts the connections, one reactor
%% context serves them all.  What the server keeps is in the namespace of that context and
%% of no other thread, so that a command is atomic without a lock, as in Redis itself.
%%
%% Run by examples/reactor_redis/run.
-mode(compile).

-define(MOST_CONNECTIONS, 10000).
-define(DEADLINE_MS, 10000).

-define(SETUP, <<"
from connection import Connection
from database import Database
from erlang import reactor

database = Database()
reactor.set_protocol_factory(lambda: Connection(database))
">>).

main([]) ->
    %% Nothing is kept on disk, nothing need be put away: SIGTERM is the end.
    ok = os:set_signal(sigterm, default),
    ok = start(),
    {ok, Reactor} = py_reactor_context:start_link(redis, auto, #{
        setup_code => ?SETUP, max_connections => ?MOST_CONNECTIONS
    }),
    Port = os:getenv("PORT", ""),
    Listening = listen(Port),
    {ok, Listened} = inet:port(Listening),
    _Acceptor = spawn_link(fun() -> accept(Listening, Reactor) end),
    case Port of
        "" ->
            ok = show(Listened, Reactor),
            halt(0);
        _ ->
            io:format("redis on redis://127.0.0.1:~w~n", [Listened]),
            receive after infinity -> ok end
    end.

start() ->
    Here = filename:dirname(filename:absname(escript:script_name())),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [Here]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

listen(Text) ->
    Port = case string:to_integer(Text) of
        {Number, ""} when Number >= 0, Number < 65536 -> Number;
        _ when Text =:= "" -> 0;
        _ -> fail("PORT must be a number from 0 to 65535, not '~ts'", [Text])
    end,
    Options = [binary, {ip, {127, 0, 0, 1}}, {active, false}, {nodelay, true},
               {reuseaddr, true}, {backlog, 1024}],
    case gen_tcp:listen(Port, Options) of
        {ok, Listening} -> Listening;
        {error, Reason} -> fail("PORT=~w: ~ts", [Port, inet:format_error(Reason)])
    end.

fail(Format, Args) ->
    io:format(standard_error, "error: " ++ Format ++ "~n", Args),
    halt(1).

%% The reactor has a descriptor of its own; a connection that it does not take is closed.
accept(Listening, Reactor) ->
    {ok, Socket} = gen_tcp:accept(Listening),
    {ok, Fd} = inet:getfd(Socket),
    case py_reactor_context:handoff(Reactor, Fd, #{}) of
        ok -> ok;
        {error, Reason} -> logger:warning("a connection is refused: ~tp", [Reason])
    end,
    ok = gen_tcp:close(Socket),
    accept(Listening, Reactor).

%% A client of our own: what is sent, at once, and what comes back.

show(Port, Reactor) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?DEADLINE_MS),
    Commands = ["SET greeting 'hello, world'", "GET greeting", "INCRBY visits 41",
                "INCR visits", "RPUSH queue a b c", "LRANGE queue 0 -1", "LPOP greeting", "QUIT"],
    ok = gen_tcp:send(Socket, [[Command, "\r\n"] || Command <- Commands]),
    [line("->", Command) || Command <- Commands],
    Replies = string:trim(read_all(Socket, <<>>), trailing, ["\r\n"]),
    [line("<-", Line) || Line <- string:split(Replies, "\r\n", all)],
    #{total_connections := Total} = py_reactor_context:stats(Reactor),
    line("ok", io_lib:format("~w connection, ~w commands", [Total, length(Commands)])).

read_all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, Data} -> read_all(Socket, <<Read/binary, Data/binary>>);
        {error, closed} -> Read
    end.

line(Sign, Text) ->
    io:format("  redis    ~ts ~ts~n", [Sign, Text]).
