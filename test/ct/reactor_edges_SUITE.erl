%% Descriptors, names, options and terms of a reactor that are less usual.
-module(reactor_edges_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, nothing_told/1, badarg/4, eventually/1]).
-import(erlpy_reactors, [start/1, start/2, stop/1, connection/1, pair/1, hand/3, echoes/2, closed/1]).

-define(PY, ct_reactor_edges).
-define(WITHIN, 10000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [abstract_addresses, datagrams_of_other_threads, datagrams_beside_much, datagram_that_is_too_large,
     pipe_before_its_writer, names_of_a_subclass, lingering_sockets, setup_before_the_module,
     options_that_are_no_text, default_options, linked_process_that_ends, large_info].

init_per_suite(Config) ->
    [_ | _] = [from, error, ready, size, eof, lost, data, made],
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_reactors:begin_case(),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_reactors:end_case(Config).

edges(Factory) ->
    {ok, Reactor} = py_reactor_context:start_link(Factory, auto,
        #{app_module => ?PY, app_callable => Factory}),
    Reactor.

%% ---- Descriptors -----------------------------------------------------------------------

%% Of names in no file system: what the system makes up has zeros and other bytes.
abstract_addresses(_Config) ->
    Reactor = start('Datagrams'),
    Name = <<0, "erlpy ", (list_to_binary(os:getpid()))/binary>>,
    {ok, Fd} = py:call(ct_reactor, bound, [{bytes, Name}]),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    {ok, none} = py:call(os, close, [Fd]),
    [begin
         {ok, <<"echo one">>} =
             py:call(ct_reactor, ask_by_datagram, [{bytes, Name}, {bytes, Own}, {bytes, <<"one">>}]),
         <<0, _/binary>> = told(from)
     end || Own <- [<<>>, <<0, "erlpy", 0, 255>>, binary:copy(<<0>>, 108)]],
    stop(Reactor).

%% Of a connected pair of sockets of datagrams.
other_end(Reactor) ->
    {ok, [Served, Other]} = py:call(?PY, unix_pair, []),
    ok = py_reactor_context:handoff(Reactor, Served, #{}),
    {ok, none} = py:call(os, close, [Served]),
    Other.

%% Nobody gets what is not for him, and an error ends nothing.
datagrams_of_other_threads(_Config) ->
    Reactor = edges('LaterDatagrams'),
    Other = other_end(Reactor),
    [begin
         {ok, none} = py:call(?PY, send, [Other, {bytes, <<"connected">>}]),
         {ok, <<"CONNECTED">>} = py:call(?PY, receive_one, [Other]),
         none = told(ready)
     end || _ <- [1, 2, 3]],
    {ok, none} = py:call(os, close, [Other]),
    {ok, Client} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Udp} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Udp),
    {ok, UdpFd} = inet:getfd(Udp),
    ok = py_reactor_context:handoff(Reactor, UdpFd, #{}),
    [begin
         ok = gen_udp:send(Client, {127, 0, 0, 1}, Port, <<"not connected">>),
         <<"OSError">> = told(error),
         none = told(ready)
     end || _ <- [1, 2, 3]],
    ok = gen_udp:send(Client, {127, 0, 0, 1}, Port, <<"now">>),
    {ok, {_, Port, <<"at once">>}} = gen_udp:recv(Client, 0, ?WITHIN),
    {error, timeout} = gen_udp:recv(Client, 0, 0),
    [ok = gen_udp:close(Socket) || Socket <- [Client, Udp]],
    stop(Reactor).

%% Each is whole, wherever in the memory of a batch there is room for it.
datagrams_beside_much(_Config) ->
    Reactor = edges('Sizes'),
    Other = other_end(Reactor),
    [begin
         {ok, none} = py:call(?PY, send, [Other, {bytes, binary:copy(<<N>>, 150000)}]),
         {150000, N} = told(size)
     end || N <- lists:seq(1, 20)],
    {ok, none} = py:call(os, close, [Other]),
    stop(Reactor).

datagram_that_is_too_large(_Config) ->
    Reactor = edges('Sizes'),
    {ok, [Served, Other]} = py:call(?PY, unix_pair, []),
    case py:call(?PY, send_large, [Other, 1200000]) of
        {ok, true} ->
            ok = py_reactor_context:handoff(Reactor, Served, #{}),
            <<"OSError">> = told(error),
            {ok, none} = py:call(?PY, send, [Other, {bytes, <<7, 7>>}]),
            {2, 7} = told(size);
        {ok, false} ->
            ct:comment("only root may send one")
    end,
    [{ok, none} = py:call(os, close, [Fd]) || Fd <- [Served, Other]],
    stop(Reactor).

%% It has not ended: it has not begun.
pipe_before_its_writer(Config) ->
    Path = list_to_binary(filename:join(?config(priv_dir, Config), "fifo")),
    {ok, none} = py:call(os, mkfifo, [Path]),
    [begin
         Reactor = Start(),
         {ok, In} = py:call(?PY, open_to_read, [Path]),
         ok = py_reactor_context:handoff(Reactor, In, #{}),
         {ok, none} = py:call(os, close, [In]),
         _ = told(made),
         nothing_told(200),
         {ok, Out} = py:call(?PY, open_to_write, [Path]),
         nothing_told(200),
         {ok, 4} = py:call(os, write, [Out, {bytes, <<"pipe">>}]),
         <<"pipe">> = told(data),
         {ok, none} = py:call(os, close, [Out]),
         none = told(eof),
         <<"none">> = told(lost),
         stop(Reactor)
     end || Start <- [fun() -> start('Told') end, fun() -> edges('plain') end]],
    ok = file:delete(Path).

%% ---- Protocols -------------------------------------------------------------------------

%% What a subclass keeps under names that look private is its own.
names_of_a_subclass(_Config) ->
    Reactor = edges('OwnNames'),
    Client = connection(Reactor),
    [ok = echoes(Client, <<"hello">>) || _ <- [1, 2]],
    ok = gen_tcp:send(Client, <<"close">>),
    ok = closed(Client),
    <<"none">> = told(lost),
    Other = connection(Reactor),
    ok = echoes(Other, <<"other">>),
    stop(Reactor),
    ok = closed(Other),
    <<"ConnectionAbortedError">> = told(lost).

%% Nobody waits for a peer that takes nothing.
lingering_sockets(_Config) ->
    Reactor = edges('Answers'),
    {Client, Served} = pair([{linger, {true, 30}}, {recbuf, 4096}, {sndbuf, 4194304}]),
    ok = hand(Reactor, Served, #{}),
    {Took, _} = erlpy_ct:timed(fun() ->
        ok = gen_tcp:send(Client, <<"1000000">>),
        <<"none">> = told(lost),
        eventually(fun() -> maps:get(active_connections, py_reactor_context:stats(Reactor)) =:= 0 end),
        {ok, 4.0} = py:call(math, sqrt, [16])
    end),
    true = Took < 15000,
    {ok, _} = gen_tcp:recv(Client, 1000000, ?WITHIN),
    ok = closed(Client),
    stop(Reactor),
    %% One that is refused stays as it was.
    Full = start('Echo', #{max_connections => 1}),
    _ = connection(Full),
    {_, Refused} = pair([{linger, {true, 1}}]),
    {ok, Fd} = inet:getfd(Refused),
    {error, too_many_connections} = py_reactor_context:handoff(Full, Fd, #{}),
    {ok, [{linger, {true, 1}}]} = inet:getopts(Refused, [linger]),
    ok = gen_tcp:close(Refused),
    stop(Full).

%% ---- Erlang ----------------------------------------------------------------------------

setup_before_the_module(Config) ->
    Folder = filename:join(?config(priv_dir, Config), "only_in_setup"),
    ok = filelib:ensure_path(Folder),
    ok = file:write_file(filename:join(Folder, "ct_by_setup.py"),
                         "from ct_reactor import Echo\n"),
    Setup = io_lib:format("import sys\nsys.path.insert(0, '~ts')\n"
                          "from erlang import reactor\nreactor.set_protocol_factory(list)\n", [Folder]),
    {ok, Reactor} = py_reactor_context:start_link(setup, auto,
        #{setup_code => Setup, app_module => ct_by_setup, app_callable => 'Echo'}),
    ok = echoes(connection(Reactor), <<"set up">>),
    stop(Reactor),
    ok = py:exec(["import sys\nsys.path.remove('", Folder, "')"]).

options_that_are_no_text(_Config) ->
    [badarg(py_reactor_context, start_link, [1, auto, #{setup_code => Code}], 3)
     || Code <- [[a], <<255>>, ["1", 16#110000], 1, "x" ++ b]],
    {ok, Reactor} = py_reactor_context:start_link(1, auto, #{setup_code => ["é = ", <<"1"/utf8>>, $\n]}),
    stop(Reactor).

default_options(_Config) ->
    [begin
         ok = application:set_env(erlpy, reactor, Options),
         try py_reactor_context:handoff(0, #{}) of
             Answer -> ct:fail({Options, Answer})
         catch
             error:badarg -> ok
         end
     end || Options <- [#{app_callable => x}, #{name => x}, #{other => 1}]],
    ok = application:set_env(erlpy, reactor, #{}).

%% Its end is no reason for one here.
linked_process_that_ends(_Config) ->
    Reactor = start('Echo'),
    Client = connection(Reactor),
    {_, Monitor} = spawn_monitor(fun() -> link(Reactor) end),
    normal = erlpy_ct:down(Monitor),
    ok = echoes(Client, <<"goes on">>),
    #{active_connections := 1} = py_reactor_context:stats(Reactor),
    stop(Reactor).

%% Of the buffers in it Python is a reader as long as the connection is there.
large_info(_Config) ->
    Reactor = edges('Info'),
    {Client, Served} = pair([]),
    {ok, Buf} = py_buffer:new(#{high_watermark => 10}),
    ok = hand(Reactor, Served, #{list => lists:seq(1, 300_000), deep => [Buf || _ <- lists:seq(1, 1000)]}),
    [300_000, 1000] = told(size),
    false = maps:get(reader_closed, py_buffer:info(Buf)),
    ok = gen_tcp:close(Client),
    ok = eventually(fun() -> maps:get(reader_closed, py_buffer:info(Buf)) end),
    stop(Reactor).
