%% Protocols of asyncio on a reactor.
%%
%% Most of it is a comparison: ct_reactor_asyncio has protocols with a client each, which are
%% run under asyncio and under a reactor, and see the same.  What only a reactor has follows.
-module(reactor_asyncio_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [eventually/1, told/1, nothing_told/1]).
-import(erlpy_reactors, [stop/1, connection/1, connection/2, echoes/2, closed/1, settled/1,
                         logged/1, next_log/0, descriptors/0]).

-define(PY, ct_reactor_asyncio).
-define(WITHIN, 20000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [tcp, unix, pipe_to_read, pipe_to_write, udp, connected_udp, unix_datagrams,
     accepted_by_erlang, extra_info, nothing_is_left, does_not_fit, needs_a_loop, reactor_ends,
     other_threads_write, other_threads_close, other_threads_pause, limits_by_another_thread,
     paused_by_another_connection, aborted_by_another_connection,
     addresses_of_datagrams, datagrams_by_another_thread, pipe_one_way].

init_per_suite(Config) ->
    [_ | _] = [made, lost, holding, first, data, eof, asked, refused],
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_reactors:begin_case(),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_reactors:end_case(Config).

%% ---- As asyncio ------------------------------------------------------------------------

tcp(_Config) -> same(tcp).
unix(_Config) -> same(unix).
pipe_to_read(_Config) -> same(pipe_to_read).
pipe_to_write(_Config) -> same(pipe_to_write).
udp(_Config) -> same(udp).
connected_udp(_Config) -> same(connected_udp).
unix_datagrams(_Config) -> same(unix_datagrams).

same(Kind) ->
    Reactor = start(?PY, make),
    {ok, [_ | _] = Names} = py:call(?PY, names, [Kind]),
    [] = [Outcome || Name <- Names, Outcome <- [compare(Name, Kind, Reactor)], Outcome =/= same],
    ok = settled(Reactor),
    #{active_connections := 0, total_connections := Total} = py_reactor_context:stats(Reactor),
    Total = length(Names),
    stop(Reactor).

compare(Name, Kind, Reactor) ->
    Expected = py:call(?PY, under_asyncio, [Name, Kind], #{}, ?WITHIN),
    case on_reactor(Name, Kind, Reactor) of
        {ok, [_ | _]} = Expected -> same;
        Other -> {Name, Other, instead_of, Expected}
    end.

on_reactor(Name, Kind, Reactor) ->
    {ok, Fd} = py:call(?PY, 'begin', [Name, Kind]),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    py:call(?PY, play, [], #{}, ?WITHIN).

%% ---- Connections that Erlang has -------------------------------------------------------

accepted_by_erlang(_Config) ->
    [begin
         Reactor = start(Class),
         Clients = [connection(Reactor) || _ <- lists:seq(1, 20)],
         Data = crypto:strong_rand_bytes(100000),
         [ok = echoes(Client, <<N, Data/binary>>) || N <- lists:seq(1, 5), Client <- Clients],
         [ok = gen_tcp:close(Client) || Client <- Clients],
         [<<"NoneType">> = told(lost) || _ <- Clients],
         ok = settled(Reactor),
         stop(Reactor)
     end || Class <- ['Echo', 'BufferedEcho']].

extra_info(_Config) ->
    Reactor = start('Asks'),
    Client = connection(Reactor, #{name => <<"a name">>, peername => {<<"10.0.0.7">>, 4711}}),
    ok = gen_tcp:send(Client, <<"x">>),
    [<<"a name">>, {<<"10.0.0.7">>, 4711}, true, true] = told(asked),
    ok = gen_tcp:close(Client),
    <<"NoneType">> = told(lost),
    stop(Reactor).

%% No descriptor, and no object that the collector would have to find.
nothing_is_left(_Config) ->
    {ok, none} = py:call(ct_asyncio_reactor, collecting, [false]),
    try
        Reactor = start('Asks'),
        ok = asks_and_closes(Reactor),
        Before = descriptors(),
        [ok = asks_and_closes(Reactor) || _ <- lists:seq(1, 10)],
        eventually(fun() -> descriptors() =< Before end),
        stop(Reactor)
    after
        {ok, none} = py:call(ct_asyncio_reactor, collecting, [true])
    end.

asks_and_closes(Reactor) ->
    Client = connection(Reactor, #{name => <<"a name">>}),
    ok = gen_tcp:send(Client, <<"x">>),
    [<<"a name">> | _] = told(asked),
    ok = gen_tcp:close(Client),
    <<"NoneType">> = told(lost),
    ok = py:exec("import ct_asyncio_reactor; ct_asyncio_reactor.latest = None"),
    eventually(fun() -> {ok, true} =:= py:call(ct_asyncio_reactor, freed, []) end).

does_not_fit(_Config) ->
    logged(fun() ->
        Streams = start('Datagrams'),
        Client = connection(Streams),
        ok = closed(Client),
        has(next_log(), "TypeError: Datagrams has no data_received()"),
        stop(Streams),
        Datagrams = start('Echo'),
        _ = served_udp(Datagrams),
        has(next_log(), "TypeError: Echo has no datagram_received()"),
        ok = settled(Datagrams),
        stop(Datagrams)
    end).

needs_a_loop(_Config) ->
    logged(fun() ->
        Reactor = start('Needs'),
        Client = connection(Reactor),
        ok = gen_tcp:send(Client, <<"x">>),
        <<"RuntimeError">> = told(lost),
        ok = closed(Client),
        has(next_log(), "RuntimeError: no running event loop"),
        stop(Reactor)
    end).

reactor_ends(_Config) ->
    Reactor = start('Echo'),
    Client = connection(Reactor),
    ok = echoes(Client, <<"hello">>),
    stop(Reactor),
    <<"ConnectionAbortedError">> = told(lost),
    ok = closed(Client).

%% ---- Other threads ---------------------------------------------------------------------

other_threads_write(_Config) ->
    Reactor = start('Echo'),
    Client = connection(Reactor),
    ok = echoes(Client, <<"hello">>),
    {Threads, Count} = {5, 2000},
    Writing = erlpy_ct:job(fun() ->
        py:call(ct_asyncio_reactor, write_by_threads, [Threads, Count])
    end),
    {ok, Data} = gen_tcp:recv(Client, Threads * Count * 10, ?WITHIN),
    ok = closed(Client),
    {ok, [<<"Cannot call write() after write_eof()">>, false, true]} = erlpy_ct:result(Writing),
    {ok, true} = py:call(ct_asyncio_reactor, in_order, [{bytes, Data}, Threads, Count]),
    <<"NoneType">> = told(lost),
    stop(Reactor).

other_threads_close(_Config) ->
    Reactor = start('Echo'),
    [begin
         Client = connection(Reactor),
         ok = echoes(Client, <<"hello">>),
         {ok, none} = py:call(ct_asyncio_reactor, write_after_close, []),
         {ok, <<"before">>} = gen_tcp:recv(Client, 6, ?WITHIN),
         ok = closed(Client),
         <<"NoneType">> = told(lost)
     end || _ <- lists:seq(1, 20)],
    stop(Reactor).

other_threads_pause(_Config) ->
    [begin
         Reactor = start(Class),
         Client = connection(Reactor),
         ok = echoes(Client, <<"hello">>),
         Pausing = erlpy_ct:job(fun() -> py:call(ct_asyncio_reactor, pause_at_random, [1000]) end),
         Data = crypto:strong_rand_bytes(20000),
         [ok = echoes(Client, <<N, Data/binary>>) || N <- lists:seq(1, 50)],
         {ok, none} = erlpy_ct:result(Pausing),
         ok = echoes(Client, <<"the end">>),
         {ok, none} = py:call(ct_asyncio_reactor, from_here, [abort]),
         <<"NoneType">> = told(lost),
         ok = closed(Client),
         stop(Reactor)
     end || Class <- ['Echo', 'BufferedEcho']].

limits_by_another_thread(_Config) ->
    Reactor = start('Echo'),
    Client = connection(Reactor),
    ok = echoes(Client, <<"hello">>),
    {ok, [2, 10, <<"none">>]} = py:call(ct_asyncio_reactor, limits_from_here, []),
    {error, {<<"ValueError">>, _, _}} =
        py:call(ct_asyncio_reactor, from_here, [set_write_buffer_limits, 1, 2]),
    {error, {<<"TypeError">>, _, _}} = py:call(ct_asyncio_reactor, from_here, [write, {str, <<"x">>}]),
    ok = echoes(Client, <<"hello">>),
    {ok, none} = py:call(ct_asyncio_reactor, from_here, [close]),
    <<"NoneType">> = told(lost),
    ok = closed(Client),
    %% It is over: nothing happens.
    [{ok, none} = py:call(ct_asyncio_reactor, from_here, [Method | Args])
     || {Method, Args} <- [{write, [{bytes, <<"x">>}]}, {close, []}, {abort, []}, {write_eof, []},
                           {pause_reading, []}, {resume_reading, []}]],
    stop(Reactor).

%% ---- Another connection of the same reactor --------------------------------------------

%% What was read before it was paused comes when it is resumed, and what follows after it.
paused_by_another_connection(_Config) ->
    {Reactor, Clients} = both_at_once(pause_reading),
    {First, Second} = who_was_first(),
    ok = gen_tcp:send(maps:get(First, Clients), <<"fence">>),
    {First, <<"fence">>} = told(data),
    ok = nothing_told(0),
    ok = gen_tcp:send(maps:get(Second, Clients), <<"more">>),
    ok = gen_tcp:shutdown(maps:get(Second, Clients), write),
    {ok, none} = py:call(ct_asyncio_reactor, resume, [Second]),
    Data = all_data(Second, <<>>),
    <<"gomore">> = Data,
    {Second, <<"NoneType">>} = told(lost),
    stop(Reactor),
    [{_, _} = told(lost) || _ <- [First, holder]],
    ok.

all_data(Name, Before) ->
    receive
        {data, {Name, Data}} -> all_data(Name, <<Before/binary, Data/binary>>);
        {eof, Name} -> Before
    after ?WITHIN -> ct:fail({no_end, Before})
    end.

%% It gets nothing any more, at once.
aborted_by_another_connection(_Config) ->
    {Reactor, Clients} = both_at_once(abort),
    {First, Second} = who_was_first(),
    {Second, <<"NoneType">>} = told(lost),
    ok = gen_tcp:send(maps:get(First, Clients), <<"fence">>),
    {First, <<"fence">>} = told(data),
    stop(Reactor),
    [{_, _} = told(lost) || _ <- [First, holder]],
    ok.

%% While the reactor is held up, both get data.
both_at_once(Then) ->
    {ok, none} = py:call(ct_asyncio_reactor, begin_first, [Then]),
    Reactor = start('First'),
    [Holder, One, Two] = [begin
         Client = connection(Reactor, #{name => Name}),
         Name = told(made),
         Client
     end || Name <- [<<"holder">>, <<"one">>, <<"two">>]],
    ok = gen_tcp:send(Holder, <<"hold">>),
    none = told(holding),
    [ok = gen_tcp:send(Client, <<"go">>) || Client <- [One, Two]],
    {ok, none} = py:call(ct_asyncio_reactor, 'First.hold.set', []),
    {Reactor, #{<<"holder">> => Holder, <<"one">> => One, <<"two">> => Two}}.

who_was_first() ->
    case told(first) of
        <<"one">> -> {<<"one">>, <<"two">>};
        <<"two">> -> {<<"two">>, <<"one">>}
    end.

%% ---- Datagrams and pipes ---------------------------------------------------------------

addresses_of_datagrams(_Config) ->
    Reactor = start('Datagrams'),
    {Socket, Port} = served_udp(Reactor),
    true = told(made),
    ok = gen_udp:send(Socket, {127, 0, 0, 1}, Port, <<"hello">>),
    has(binary_to_list(told(refused)), "localhost"),
    {ok, {_, Port, <<>>}} = gen_udp:recv(Socket, 0, ?WITHIN),
    {ok, {_, Port, <<"hello">>}} = gen_udp:recv(Socket, 0, ?WITHIN),
    ok = gen_udp:close(Socket),
    stop(Reactor),
    <<"ConnectionAbortedError">> = told(lost).

%% A bad address is found when the datagram is sent, and hinders no other.
datagrams_by_another_thread(_Config) ->
    logged(fun() ->
        Reactor = start('Datagrams'),
        {Socket, Port} = served_udp(Reactor),
        true = told(made),
        {ok, Mine} = inet:port(Socket),
        {ok, none} = py:call(ct_asyncio_reactor, send_from_here, [Mine]),
        {ok, {_, Port, <<"world">>}} = gen_udp:recv(Socket, 0, ?WITHIN),
        has(next_log(), "ValueError"),
        {ok, none} = py:call(ct_asyncio_reactor, from_here, [close]),
        <<"NoneType">> = told(lost),
        ok = gen_udp:close(Socket),
        stop(Reactor)
    end).

%% The client's socket, and the port of the one that is served.
served_udp(Reactor) ->
    [Socket, Served] = [begin
         {ok, One} = gen_udp:open(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}]),
         One
     end || _ <- [1, 2]],
    {ok, Port} = inet:port(Served),
    {ok, Fd} = inet:getfd(Served),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    ok = gen_udp:close(Served),
    {Socket, Port}.

pipe_one_way(_Config) ->
    Reactor = start('Pipe'),
    {ok, [In, Out]} = py:eval("list(__import__('os').pipe())"),
    ok = py_reactor_context:handoff(Reactor, In, #{}),
    [<<"the pipe is not open for writing">>, <<"this descriptor ", _/binary>>, false] = told(made),
    [{ok, none} = py:call(os, close, [Fd]) || Fd <- [In, Out]],
    <<"NoneType">> = told(lost),
    stop(Reactor).

%% ---- Helpers ---------------------------------------------------------------------------

start(Class) ->
    start(ct_asyncio_reactor, Class).

start(Module, Factory) ->
    {ok, Reactor} = py_reactor_context:start_link(
        Factory, auto, #{app_module => Module, app_callable => Factory}),
    Reactor.

has(Text, Part) ->
    {_, true} = {Text, string:find(Text, Part) =/= nomatch}.
