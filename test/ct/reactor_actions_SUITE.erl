%% What the callbacks of a protocol answer, and what is done then.
%%
%% After every case fresh calls succeed and no message is left over.
-module(reactor_actions_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1, nothing_told/1]).
-import(erlpy_reactors, [start/1, stop/1, connection/1, connection/2, begun/2, ends/1, closed/1,
                         received/2, settled/1, logged/1, next_log/0]).

-define(WITHIN, 10000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [actions_of_connection_made, actions_of_data_received, actions_of_write_ready,
     actions_of_eof_received, nothing_to_write, wrong_actions, made_as_it_is_taken, answer_from_another_thread].

init_per_suite(Config) ->
    [_ | _] = [made, data, ready, eof, lost],
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_reactors:begin_case(),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_reactors:end_case(Config).

actions_of_connection_made(_Config) ->
    Reactor = start('Told'),
    Begin = fun(Action) ->
        Client = connection(Reactor, #{made => Action, greeting => <<"hi">>}),
        Fd = told(made),
        ok = received(Client, <<"hi">>),
        {Client, Fd}
    end,
    [begin
         {Client, _} = Begin(Action),
         Ready andalso (none = told(ready)),
         ok = gen_tcp:send(Client, <<"x">>),
         <<"x">> = told(data),
         ends(Client)
     end || {Action, Ready} <- [{continue, false}, {none, false}, {read_pending, false}, {write_pending, true}]],
    {Waiting, Fd} = Begin(async_pending),
    signalled_reads(Waiting, Fd),
    {Closing, _} = Begin(close),
    <<"none">> = told(lost),
    ok = closed(Closing),
    stop(Reactor).

%% Nothing is read until the signal, after which write_ready() answers read_pending.
signalled_reads(Client, Fd) ->
    ok = gen_tcp:send(Client, <<"later">>),
    nothing_told(100),
    {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    none = told(ready),
    <<"later">> = told(data),
    ends(Client).

actions_of_data_received(_Config) ->
    Reactor = start('Told'),
    [begin
         {Client, _} = begun(Reactor, #{data => Action, echo => true}),
         Ready andalso (none = told(ready)),
         ok = received(Client, <<"x">>),
         ok = gen_tcp:send(Client, <<"y">>),
         <<"y">> = told(data),
         Ready andalso (none = told(ready)),
         ok = received(Client, <<"y">>),
         ends(Client)
     end || {Action, Ready} <- [{continue, false}, {read_pending, false}, {write_pending, true}]],
    {Waiting, Fd} = begun(Reactor, #{data => async_pending, echo => true}),
    ok = received(Waiting, <<"x">>),
    ok = gen_tcp:send(Waiting, <<"y">>),
    nothing_told(100),
    {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    none = told(ready),
    <<"y">> = told(data),
    ok = received(Waiting, <<"y">>),
    ok = gen_tcp:close(Waiting),
    {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    none = told(ready),
    none = told(eof),
    <<"none">> = told(lost),
    {Closing, _} = begun(Reactor, #{data => close, echo => true}),
    <<"none">> = told(lost),
    ok = received(Closing, <<"x">>),
    ok = closed(Closing),
    stop(Reactor).

actions_of_write_ready(_Config) ->
    Reactor = start('Told'),
    Begin = fun(Action) ->
        Begun = begun(Reactor, #{data => write_pending, echo => true, ready => Action}),
        none = told(ready),
        Begun
    end,
    [begin
         {Client, _} = Begin(Action),
         ok = received(Client, <<"x">>),
         ok = gen_tcp:send(Client, <<"y">>),
         <<"y">> = told(data),
         none = told(ready),
         ok = received(Client, <<"y">>),
         ends(Client)
     end || Action <- [continue, read_pending]],
    {Waiting, Fd} = Begin(async_pending),
    ok = received(Waiting, <<"x">>),
    ok = gen_tcp:send(Waiting, <<"y">>),
    nothing_told(100),
    {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    none = told(ready),
    nothing_told(100),
    ok = gen_tcp:close(Waiting),
    {Closing, _} = Begin(close),
    <<"none">> = told(lost),
    ok = received(Closing, <<"x">>),
    ok = closed(Closing),
    stop(Reactor),
    <<"ConnectionAbortedError">> = told(lost).

%% After the end of data nothing can be read: what would read closes.
actions_of_eof_received(_Config) ->
    Reactor = start('Told'),
    [begin
         Client = connection(Reactor, #{eof => Action, farewell => <<"bye">>}),
         _ = told(made),
         ok = gen_tcp:shutdown(Client, write),
         none = told(eof),
         Action =:= write_pending andalso (none = told(ready)),
         ok = received(Client, <<"bye">>),
         ok = closed(Client),
         <<"none">> = told(lost)
     end || Action <- [none, close, continue, read_pending, write_pending]],
    Client = connection(Reactor, #{eof => async_pending, farewell => <<"bye">>}),
    Fd = told(made),
    ok = gen_tcp:shutdown(Client, write),
    none = told(eof),
    ok = received(Client, <<"bye">>),
    nothing_told(100),
    {error, timeout} = gen_tcp:recv(Client, 0, 0),
    {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    none = told(ready),
    <<"none">> = told(lost),
    ok = closed(Client),
    {ok, false} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    stop(Reactor).

%% Not asked again and again.
nothing_to_write(_Config) ->
    Reactor = start('Told'),
    {Client, Fd} = begun(Reactor, #{data => write_pending, ready => write_pending}),
    none = told(ready),
    nothing_told(100),
    {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
    none = told(ready),
    nothing_told(100),
    ok = gen_tcp:close(Client),
    stop(Reactor),
    <<"ConnectionAbortedError">> = told(lost).

wrong_actions(_Config) ->
    Reactor = start('Told'),
    Fine = connection(Reactor, #{echo => true}),
    _ = told(made),
    logged(fun() ->
        [begin
             Client = connection(Reactor, maps:merge(#{data => write_pending}, #{Callback => Action})),
             _ = told(made),
             Callback =:= made orelse begin
                 _ = gen_tcp:send(Client, <<"x">>),
                 <<"x">> = told(data)
             end,
             Callback =:= ready andalso (none = told(ready)),
             Callback =:= eof andalso begin
                 none = told(ready),
                 ok = gen_tcp:shutdown(Client, write),
                 none = told(eof)
             end,
             <<"ValueError">> = told(lost),
             ok = closed(Client),
             true = has(next_log(), "is not an action")
         end || Callback <- [made, data, ready, eof], Action <- [wait, true, 7, [], #{}]],
        ok = nothing_told(0)
    end),
    ok = gen_tcp:send(Fine, <<"still">>),
    <<"still">> = told(data),
    ok = received(Fine, <<"still">>),
    stop(Reactor),
    <<"ConnectionAbortedError">> = told(lost).

made_as_it_is_taken(_Config) ->
    Reactor = start('Chunks'),
    Client = connection(Reactor),
    ok = gen_tcp:send(Client, <<"2000">>),
    {ok, All} = gen_tcp:recv(Client, 20000000, ?WITHIN),
    20000000 = byte_size(All),
    ok = closed(Client),
    stop(Reactor).

answer_from_another_thread(_Config) ->
    Reactor = start('Later'),
    Client = connection(Reactor),
    [begin
         ok = gen_tcp:send(Client, <<"abc">>),
         ok = received(Client, <<"ABC">>),
         none = told(ready)
     end || _ <- lists:seq(1, 50)],
    ok = gen_tcp:close(Client),
    ok = settled(Reactor),
    Other = start('Told'),
    _ = connection(Other),
    Fd = told(made),
    {ok, Refused} = py:call(ct_reactor, stranger, [Fd]),
    true = has(Refused, "thread of its reactor"),
    stop(Reactor),
    stop(Other),
    <<"ConnectionAbortedError">> = told(lost).

has(Text, Part) ->
    string:find(Text, Part) =/= nomatch.
