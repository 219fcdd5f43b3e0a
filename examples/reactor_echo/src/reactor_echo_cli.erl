%% The program: what `run' calls.  Its options are environment variables.
-module(reactor_echo_cli).

-export([main/1]).

-define(DEADLINE_MS, 10000).

%% @doc Serves on PORT; without one, shows what it does and ends.
-spec main([string()]) -> ok | no_return().
main(Args) ->
    Protocols = protocols(Args),
    ok = application:load(reactor_echo),
    ok = application:set_env(reactor_echo, reactors, number("REACTORS", "2", 1, 64)),
    ok = start_python(),
    case os:getenv("PORT", "") of
        "" ->
            ok = lists:foreach(fun show/1, Protocols),
            halt(0);
        _ ->
            [Protocol | _] = Protocols,
            Port = start(Protocol, number("PORT", "", 0, 65535), permanent),
            io:format("~ts on ~ts127.0.0.1:~w~n", [Protocol, scheme(Protocol), Port])
    end.

protocols([]) -> [echo, http];
protocols(["echo"]) -> [echo];
protocols(["http"]) -> [http];
protocols(_) -> fail("run [echo | http]", []).

scheme(echo) -> "";
scheme(http) -> "http://".

start_python() ->
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [os:getenv("REACTOR_ECHO_APP")]),
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

start(Protocol, Port, Type) ->
    ok = application:set_env(reactor_echo, protocol, Protocol),
    ok = application:set_env(reactor_echo, port, Port),
    Protocol =:= http andalso (py:exec(<<"import h11">>) =:= ok orelse
        fail("http needs the module h11 (Debian: python3-h11)", [])),
    case application:ensure_all_started(reactor_echo, Type) of
        {ok, _} ->
            {ok, Listened} = application:get_env(reactor_echo, port),
            Listened;
        {error, {reactor_echo, {eaddrinuse, _}}} ->
            fail("PORT=~w is in use; PORT=0 takes one that is free", [Port]);
        {error, Reason} ->
            fail("~tp", [Reason])
    end.

number(Name, Default, Least, Most) ->
    Text = os:getenv(Name, Default),
    case string:to_integer(Text) of
        {Number, ""} when Number >= Least, Number =< Most ->
            Number;
        _ ->
            fail("~ts must be a number from ~w to ~w, not '~ts'", [Name, Least, Most, Text])
    end.

-spec fail(string(), [term()]) -> no_return().
fail(Format, Args) ->
    io:format(standard_error, "error: " ++ Format ++ "~n", Args),
    halt(1).

%% ---- It shows what it does ----------------------------------------------------------------

show(http) ->
    case py:exec(<<"import h11">>) of
        ok -> show(http, [a_get(), [a_post(), a_get()]]);
        {error, _} -> line(http, "not shown: there is no h11 here")
    end;
show(echo) ->
    show(echo, [["hello, ", integer_to_list(N)] || N <- lists:seq(1, 4)]).

show(Protocol, Requests) ->
    Port = start(Protocol, 0, temporary),
    lists:foreach(fun(Request) -> talk(Protocol, Port, Request) end, Requests),
    [line(Protocol, "~ts: ~w of ~w connections", [Name, Total, length(Requests)])
     || Name <- reactor_echo:reactors(),
        #{total_connections := Total} <- [py_reactor_context:stats(Name)]],
    ok = application:stop(reactor_echo).

a_get() ->
    "GET /here HTTP/1.1\r\nHost: demo\r\n\r\n".

a_post() ->
    "POST / HTTP/1.1\r\nHost: demo\r\nTransfer-Encoding: chunked\r\n\r\n"
    "8\r\nin piece\r\n8\r\ns back\r\n\r\n0\r\n\r\n".

%% The client ends its side, and reads what comes up to the end of the other.
talk(Protocol, Port, Request) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?DEADLINE_MS),
    ok = gen_tcp:send(Socket, Request),
    ok = gen_tcp:shutdown(Socket, write),
    lines(Protocol, "->", iolist_to_binary(Request)),
    lines(Protocol, "<-", read_all(Socket, <<>>)),
    ok = gen_tcp:close(Socket).

read_all(Socket, Read) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, Data} -> read_all(Socket, <<Read/binary, Data/binary>>);
        {error, closed} -> Read
    end.

lines(Title, Arrow, Text) ->
    Lines = string:split(string:trim(Text, trailing, ["\r\n"]), "\r\n", all),
    [line(Title, "~ts ~ts", [Arrow, Line]) || Line <- Lines].

line(Title, Format) ->
    line(Title, Format, []).

line(Title, Format, Arguments) ->
    io:format("  ~-9ts" ++ Format ++ "~n", [Title | Arguments]).
