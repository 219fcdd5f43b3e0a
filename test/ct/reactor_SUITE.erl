%% Reactors: descriptors of every kind, data, flow, failures, the Erlang side.
%%
%% After every case fresh calls succeed and no message is left over.
-module(reactor_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [eventually/1, told/1, nothing_told/1, badarg/4]).
-import(erlpy_reactors, [start/1, start/2, stop/1, connection/1, connection/2, connections/3, pair/0, pair/1,
                         hand/3, begun/2, echoes/2, closed/1, received/2, settled/1, logged/1,
                         next_log/0]).

-define(WITHIN, 10000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [serves_tcp, serves_unix, serves_pipes, serves_datagrams, datagrams_over_unix, bad_addresses,
     client_info, reactors_of_their_own, default_factory, default_reactor, without_super,
     data_is_bytes_like, data_at_random, data_is_kept, rest_keeps_nothing, data_comes_in_large_pieces,
     large_echo, slow_reader_pauses, half_close, answer_before_the_end, peer_resets, close_writes_first,
     exceptions_close_one, odd_protocols, factories_that_fail, setup_that_fails,
     limit_of_connections, bad_descriptors, duplicates, statistics, names, bad_arguments,
     module_without_a_reactor].

init_per_suite(Config) ->
    [_ | _] = [made, data, ready, eof, lost, other, wrong, kept, from, asleep, error, refused, freed],
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_reactors:begin_case(),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_reactors:end_case(Config).

%% ---- Kinds of descriptors --------------------------------------------------------------

serves_tcp(_Config) ->
    Reactor = start('Echo'),
    Clients = connections(Reactor, #{}, 5),
    [ok = echoes(Client, <<"hello ", (integer_to_binary(N))/binary>>)
     || Client <- Clients, N <- lists:seq(1, 20)],
    [ok = gen_tcp:close(Client) || Client <- Clients],
    ok = settled(Reactor),
    stop(Reactor).

serves_unix(Config) ->
    Reactor = start('Echo'),
    Path = filename:join("/tmp", "erlpy_" ++ os:getpid() ++ ".sock"),
    {ok, Listening} = gen_tcp:listen(0, [{ifaddr, {local, Path}}, binary, {active, false}]),
    try
        {ok, Client} = gen_tcp:connect({local, Path}, 0, [binary, {active, false}], ?WITHIN),
        {ok, Served} = gen_tcp:accept(Listening, ?WITHIN),
        ok = hand(Reactor, Served, #{}),
        ok = echoes(Client, binary:copy(<<"unix">>, 50000)),
        ok = gen_tcp:close(Client),
        settled(Reactor)
    after
        file:delete(Path),
        gen_tcp:close(Listening)
    end,
    stop(Reactor),
    Config.

%% What is read from one pipe is told, what is written to another arrives.
serves_pipes(_Config) ->
    Reactor = start('Told'),
    {ok, [In, Out]} = py:eval("list(__import__('os').pipe())"),
    ok = py_reactor_context:handoff(Reactor, In, #{}),
    _ = told(made),
    {ok, 4} = py:call(os, write, [Out, {bytes, <<"pipe">>}]),
    <<"pipe">> = told(data),
    {ok, none} = py:call(os, close, [In]),
    {ok, none} = py:call(os, close, [Out]),
    none = told(eof),
    <<"none">> = told(lost),
    {ok, [In2, Out2]} = py:eval("list(__import__('os').pipe())"),
    ok = py_reactor_context:handoff(Reactor, Out2, #{greeting => <<"hello">>, made => close}),
    _ = told(made),
    <<"none">> = told(lost),
    {ok, none} = py:call(os, close, [Out2]),
    {ok, <<"hello">>} = py:call(os, read, [In2, 100]),
    {ok, <<>>} = py:call(os, read, [In2, 100]),
    {ok, none} = py:call(os, close, [In2]),
    stop(Reactor).

serves_datagrams(_Config) ->
    Reactor = start('Datagrams'),
    {ok, Served} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {recbuf, 200000}]),
    {ok, Port} = inet:port(Served),
    {ok, Fd} = inet:getfd(Served),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    ok = gen_udp:close(Served),
    {ok, Client} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {recbuf, 200000}]),
    {ok, Own} = inet:port(Client),
    [begin
         ok = gen_udp:send(Client, {127, 0, 0, 1}, Port, Data),
         {<<"127.0.0.1">>, Own} = told(from),
         {ok, {_, Port, Answer}} = gen_udp:recv(Client, 0, ?WITHIN)
     end || {Data, Answer} <- [{<<"one">>, <<"echo one">>}, {<<>>, <<"echo ">>},
                               {<<"other">>, <<"to other">>},
                               {binary:copy(<<"x">>, 60000), <<"echo ", (binary:copy(<<"x">>, 60000))/binary>>}]],
    %% One datagram a call, also when several are there.
    [ok = gen_udp:send(Client, {127, 0, 0, 1}, Port, <<N>>) || N <- lists:seq(1, 50)],
    [{ok, {_, _, <<"echo ", N>>}} = gen_udp:recv(Client, 0, ?WITHIN) || N <- lists:seq(1, 50)],
    [_ = told(from) || _ <- lists:seq(1, 50)],
    ok = gen_udp:close(Client),
    stop(Reactor).

%% One that is bound to a name; and one that is not, has no address, and gets no answer.
datagrams_over_unix(_Config) ->
    Reactor = start('Datagrams'),
    Names = [list_to_binary(filename:join("/tmp", "erlpy_" ++ os:getpid() ++ Side)) || Side <- [".a", ".b"]],
    [Served, Client] = Names,
    {ok, Fd} = py:call(ct_reactor, bound, [Served]),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    {ok, none} = py:call(os, close, [Fd]),
    {ok, <<"echo one">>} = py:call(ct_reactor, ask_by_datagram, [Served, Client, {bytes, <<"one">>}]),
    Client = told(from),
    {ok, none} = py:call(ct_reactor, ask_by_datagram, [Served, none, {bytes, <<"two">>}]),
    none = told(from),
    <<"OSError">> = told(error),
    {ok, none} = py:call(os, unlink, [Client]),
    {ok, <<"echo three">>} = py:call(ct_reactor, ask_by_datagram, [Served, Client, {bytes, <<"three">>}]),
    Client = told(from),
    [{ok, none} = py:call(os, unlink, [Name]) || Name <- Names],
    stop(Reactor).

bad_addresses(_Config) ->
    Reactor = start('BadSendto'),
    {ok, Served} = gen_udp:open(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Served),
    {ok, Fd} = inet:getfd(Served),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    ok = gen_udp:send(Served, {127, 0, 0, 1}, Port, <<"x">>),
    [<<"ValueError">>, <<"TypeError">>, <<"TypeError">>, <<"OverflowError">>, <<"ValueError">>,
     <<"ValueError">>, <<"ValueError">>, <<"ValueError">>] = told(refused),
    ok = gen_udp:close(Served),
    stop(Reactor).

%% ---- Protocols -------------------------------------------------------------------------

client_info(_Config) ->
    Reactor = start('Told'),
    {Client, Served} = pair(),
    {ok, Fd} = inet:getfd(Served),
    ok = hand(Reactor, Served, #{greeting => <<"as told">>, 1 => {a, [2.5]}, pid => self()}),
    Own = told(made),
    true = Own =/= Fd,
    ok = received(Client, <<"as told">>),
    ok = gen_tcp:close(Client),
    none = told(eof),
    <<"none">> = told(lost),
    %% What Python cannot take closes the connection.
    logged(fun() ->
        Other = connection(Reactor, #{function => fun() -> ok end}),
        ok = closed(Other),
        true = has(next_log(), "NotConvertibleError")
    end),
    stop(Reactor).

reactors_of_their_own(_Config) ->
    [One, Two] = [start('Echo'), start('Other')],
    Client = connection(One),
    _ = connection(Two),
    none = told(other),
    ok = echoes(Client, <<"one">>),
    [stop(Reactor) || Reactor <- [One, Two]],
    <<"ConnectionAbortedError">> = told(lost).

%% Set where there is no reactor: of all that have none.
default_factory(_Config) ->
    {ok, Before} = py_reactor_context:start_link(before, worker),
    {ok, none} = py:eval("__import__('erlang').reactor.set_protocol_factory(__import__('ct_reactor').Echo)"),
    ok = echoes(connection(Before), <<"before">>),
    Own = start('Other'),
    _ = connection(Own),
    none = told(other),
    [stop(Reactor) || Reactor <- [Before, Own]],
    <<"ConnectionAbortedError">> = told(lost).

default_reactor(_Config) ->
    undefined = whereis(erlpy_reactor_default),
    {ok, none} = py:eval("__import__('erlang').reactor.set_protocol_factory(__import__('ct_reactor').Echo)"),
    Clients = [begin
         {Client, Served} = pair(),
         {ok, Fd} = inet:getfd(Served),
         ok = py_reactor_context:handoff(Fd, #{}),
         ok = gen_tcp:close(Served),
         ok = echoes(Client, <<"default">>),
         Client
     end || _ <- [1, 2]],
    #{id := default, active_connections := 2, max_connections := 100} =
        py_reactor_context:stats(erlpy_reactor_default),
    Pid = whereis(erlpy_reactor_default),
    exit(Pid, kill),
    [ok = closed(Client) || Client <- Clients],
    %% The next one starts another, however often that happens.
    [begin
         {_, Other} = pair(),
         {ok, OtherFd} = inet:getfd(Other),
         eventually(fun() -> py_reactor_context:handoff(OtherFd, #{}) =:= ok end),
         exit(whereis(erlpy_reactor_default), kill),
         gen_tcp:close(Other)
     end || _ <- lists:seq(1, 5)],
    ok = application:stop(erlpy),
    {error, not_started} = py_reactor_context:handoff(0, #{}),
    ok = application:set_env(erlpy, reactor, #{app_module => ct_absent}),
    ok = application:start(erlpy),
    {error, {app_module, {<<"ModuleNotFoundError">>, _, _}}} =
        py_reactor_context:handoff(0, #{}),
    %% A setup that never ends keeps nobody else, and not the stop of the application.
    ok = application:set_env(erlpy, reactor, #{setup_code => "while True: pass"}),
    Caller = erlpy_ct:caller(fun() -> py_reactor_context:handoff(0, #{}) end),
    eventually(fun() -> is_pid(whereis(erlpy_reactor_default)) end),
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Took < 15000,
    {error, _} = erlpy_ct:answer_of(Caller),
    ok = application:start(erlpy),
    ok = application:set_env(erlpy, reactor, #{}).

without_super(_Config) ->
    Reactor = start('WithoutInit'),
    {Client, Served} = pair(),
    {ok, Fd} = inet:getfd(Served),
    ok = py_reactor_context:handoff(Reactor, Fd, #{fd => -2}),
    ok = gen_tcp:send(Client, <<"x">>),
    ok = received(Client, <<"1 False False">>),
    stop(Reactor).

%% ---- Data ------------------------------------------------------------------------------

data_is_bytes_like(_Config) ->
    Reactor = start('Checked'),
    Client = connection(Reactor),
    ok = gen_tcp:send(Client, <<"hello hello">>),
    [] = told(wrong),
    ok = closed(Client),
    stop(Reactor).

data_at_random(_Config) ->
    Reactor = start('Random'),
    Seed = erlang:unique_integer([positive]) + erlang:system_time(second),
    ct:log("seed ~p", [Seed]),
    Client = connection(Reactor, #{seed => Seed}),
    ok = gen_tcp:send(Client, <<"hello hello">>),
    none = told(wrong),
    ok = closed(Client),
    stop(Reactor).

%% Small and large pieces, more than the block that is read into holds.
data_is_kept(_Config) ->
    Reactor = start('Keeps'),
    Client = connection(Reactor),
    Pieces = [unquestioning(Size) || N <- lists:seq(1, 60), Size <- [N, 1000 * N, 100000]],
    [begin ok = gen_tcp:send(Client, Piece) end || Piece <- Pieces],
    ok = gen_tcp:send(Client, <<"?">>),
    %% Each byte is kept twice.
    Kept = 2 * iolist_size([Pieces, "?"]),
    {true, Kept} = told(kept),
    ok = closed(Client),
    stop(Reactor).

%% Random bytes, and no "?" among them, which may come last anywhere.
unquestioning(Size) ->
    << <<(Byte bor 64)>> || <<Byte>> <= crypto:strong_rand_bytes(Size) >>.

%% A reactor that waits holds no protocol that has ended, and so no data either.
rest_keeps_nothing(_Config) ->
    Reactor = start('Freed'),
    Client = connection(Reactor),
    ok = echoes(Client, <<"last">>),
    none = told(freed),
    ok = closed(Client),
    stop(Reactor).

data_comes_in_large_pieces(_Config) ->
    Reactor = start('Slow'),
    Client = connection(Reactor),
    _ = told(made),
    ok = gen_tcp:send(Client, <<"0.3">>),
    none = told(asleep),
    %% What fits into any window of TCP.
    Spaces = binary:copy(<<" ">>, 40000),
    ok = gen_tcp:send(Client, [Spaces, <<"0">>]),
    <<"0.3">> = told(data),
    none = told(asleep),
    <<Spaces:40000/binary, "0">> = told(data),
    ok = gen_tcp:close(Client),
    none = told(eof),
    <<"none">> = told(lost),
    stop(Reactor).

%% ---- Flow ------------------------------------------------------------------------------

large_echo(_Config) ->
    [begin
         Reactor = start(Factory),
         Client = connection(Reactor),
         Data = crypto:strong_rand_bytes(20000000),
         spawn_link(fun() -> ok = gen_tcp:send(Client, Data) end),
         {ok, Data} = gen_tcp:recv(Client, byte_size(Data), ?WITHIN),
         ok = gen_tcp:close(Client),
         stop(Reactor)
     end || Factory <- ['Echo', 'PoliteEcho']].

%% One that never reads is read from no more; others go on, and it gets all when it reads.
slow_reader_pauses(_Config) ->
    Reactor = start('Echo'),
    {Client, Served} = pair([{sndbuf, 10000}, {recbuf, 10000}, {buffer, 10000}]),
    ok = hand(Reactor, Served, #{}),
    Data = crypto:strong_rand_bytes(5000000),
    Sender = spawn_link(fun() -> ok = gen_tcp:send(Client, Data) end),
    Monitor = monitor(process, Sender),
    In = fun() -> maps:get(bytes_in, py_reactor_context:stats(Reactor)) end,
    eventually(fun() -> Before = In(), timer:sleep(100), Before > 0 andalso In() =:= Before end),
    true = In() < 2000000,
    {ok, Fd} = py:eval("max(__import__('erlang').reactor._protocols)"),
    {ok, Waiting} = py:eval("len(__import__('erlang').reactor.get_protocol(fd).write_buffer)", #{fd => Fd}),
    true = Waiting > 0 andalso Waiting < 65536 + 1048576,
    ok = echoes(connection(Reactor), <<"meanwhile">>),
    {ok, Data} = gen_tcp:recv(Client, byte_size(Data), ?WITHIN),
    receive {'DOWN', Monitor, process, Sender, normal} -> ok after ?WITHIN -> ct:fail(not_sent) end,
    stop(Reactor).

half_close(_Config) ->
    Reactor = start('Echo'),
    Client = connection(Reactor),
    Data = crypto:strong_rand_bytes(3000000),
    spawn_link(fun() -> ok = gen_tcp:send(Client, Data), ok = gen_tcp:shutdown(Client, write) end),
    {ok, Data} = gen_tcp:recv(Client, byte_size(Data), ?WITHIN),
    ok = closed(Client),
    ok = settled(Reactor),
    stop(Reactor).

%% The answer arrives whole although the client sends all the time, and is not reset.
answer_before_the_end(_Config) ->
    Reactor = start('Refuses'),
    Client = connection(Reactor),
    ok = inet:setopts(Client, [{exit_on_close, false}]),
    _ = told(made),
    ok = gen_tcp:send(Client, <<"begin">>),
    Answer = binary:copy(<<"refused">>, 100000),
    {ok, Answer} = gen_tcp:recv(Client, byte_size(Answer), ?WITHIN),
    ok = closed(Client),
    ok = gen_tcp:send(Client, binary:copy(<<"x">>, 1000000)),
    ok = gen_tcp:shutdown(Client, write),
    1000005 = told(data),
    <<"none">> = told(lost),
    stop(Reactor).

peer_resets(_Config) ->
    Reactor = start('Told'),
    logged(fun() ->
        [begin
             {Client, Fd} = begun(Reactor, #{data => Action}),
             ok = inet:setopts(Client, [{linger, {true, 0}}]),
             ok = gen_tcp:close(Client),
             Action =:= async_pending andalso begin
                 {ok, true} = py:call('erlang.reactor', signal_write_ready, [Fd]),
                 none = told(ready)
             end,
             <<"ConnectionResetError">> = told(lost)
         end || Action <- [continue, async_pending]],
        ok = nothing_told(0)
    end),
    stop(Reactor).

%% What was written before comes, however slowly it is taken.
close_writes_first(_Config) ->
    Reactor = start('Told'),
    Greeting = binary:copy(<<"0123456789">>, 500000),
    Client = connection(Reactor, #{greeting => Greeting, made => close}),
    _ = told(made),
    ok = gen_tcp:send(Client, <<"unread">>),
    ok = received(Client, Greeting),
    <<"none">> = told(lost),
    stop(Reactor).

%% ---- Failures --------------------------------------------------------------------------

exceptions_close_one(_Config) ->
    Callbacks = [connection_made, data_received, write_ready, eof_received, connection_lost],
    [begin
         {ok, Reactor} = py_reactor_context:start_link(Callback, auto, #{setup_code => [
             "import ct_reactor; from erlang import reactor\n"
             "reactor.set_protocol_factory(ct_reactor.raising('", atom_to_list(Callback), "'))"]}),
         Others = other_of(Reactor, Callback),
         logged(fun() -> raises_once(Reactor, Callback, Exit) end),
         [still(Other) || Other <- Others],
         stop(Reactor),
         [<<"ConnectionAbortedError">> = told(lost) || _ <- Others]
     end || Callback <- Callbacks, Exit <- [false, true]].

%% A connection on which nothing is raised yet, where there can be one.
other_of(_Reactor, Callback) when Callback =:= connection_made; Callback =:= data_received ->
    [];
other_of(Reactor, _Callback) ->
    Other = connection(Reactor, #{data => continue, echo => true}),
    _ = told(made),
    [Other].

still(Other) ->
    ok = gen_tcp:send(Other, <<"still">>),
    <<"still">> = told(data),
    received(Other, <<"still">>).

raises_once(Reactor, Callback, Exit) ->
    Client = connection(Reactor, #{data => write_pending, exit => Exit}),
    Callback =/= connection_made andalso told(made),
    _ = gen_tcp:send(Client, <<"x">>),
    lists:member(Callback, [write_ready, eof_received, connection_lost]) andalso (<<"x">> = told(data)),
    lists:member(Callback, [eof_received, connection_lost]) andalso begin
        none = told(ready),
        ok = gen_tcp:shutdown(Client, write)
    end,
    Callback =:= connection_lost andalso (none = told(eof)),
    Name = case {Callback, Exit} of
        {connection_lost, _} -> <<"none">>;
        {_, true} -> <<"SystemExit">>;
        {_, false} -> <<"OSError">>
    end,
    Name = told(lost),
    ok = closed(Client),
    Text = next_log(),
    [true = has(Text, Part) || Part <- ["Traceback", "ct_reactor.py", "of " ++ atom_to_list(Callback)]],
    ok = nothing_told(0).

odd_protocols(_Config) ->
    Reactor = start('Odd'),
    [begin
         Client = connection(Reactor),
         Fd = told(made),
         logged(fun() ->
             ok = gen_tcp:send(Client, Data),
             Data = told(data),
             Lost = told(lost),
             ok = closed(Client),
             Data =:= <<"close">> orelse begin
                 Text = next_log(),
                 true = length(Text) < 100000
             end
         end),
         {ok, none} = py:call('erlang.reactor', get_protocol, [Fd])
     end || {Data, Lost} <- [{<<"raise">>, <<"Unprintable">>}, {<<"another's">>, <<"Cancelled">>},
                              {<<"long">>, <<"OSError">>}, {<<"close">>, <<"none">>}]],
    {error, {unknown_request, what}} = gen_server:call(Reactor, what),
    stop(Reactor).

factories_that_fail(_Config) ->
    [begin
         Reactor = start(Factory),
         logged(fun() ->
             Client = connection(Reactor),
             ok = case Factory of
                 always_the_same -> echoes(Client, <<"first">>);
                 _ -> ok
             end,
             Factory =:= always_the_same andalso (ok = closed(connection(Reactor))),
             Factory =:= always_the_same orelse (ok = closed(Client)),
             true = has(next_log(), Says)
         end),
         stop(Reactor)
     end || {Factory, Says} <- [{'FailsToBegin', "ZeroDivisionError: of the factory"},
                                {not_a_protocol, "not int"},
                                {always_the_same, "a new protocol each time"}]],
    ok = py:exec("import erlang.reactor; erlang.reactor._default_factory = None"),
    {ok, None} = py_reactor_context:start_link(none, auto),
    logged(fun() ->
        ok = closed(connection(None)),
        true = has(next_log(), "no protocol factory")
    end),
    stop(None).

setup_that_fails(_Config) ->
    Contexts = erlpy_ct:info(contexts),
    Start = fun(Options) ->
        {error, {What, Reason}} = erlpy_ct:failed_start(fun() ->
            py_reactor_context:start_link(fails, auto, Options)
        end),
        {What, element(1, Reason)}
    end,
    {setup_code, <<"ZeroDivisionError">>} = Start(#{setup_code => "1 / 0"}),
    {setup_code, <<"SyntaxError">>} = Start(#{setup_code => <<"def">>}),
    {app_module, <<"ModuleNotFoundError">>} = Start(#{app_module => ct_absent}),
    {app_module, <<"AttributeError">>} = Start(#{app_module => <<"ct_reactor">>}),
    {app_module, <<"TypeError">>} = Start(#{app_module => ct_reactor, app_callable => 'ONE'}),
    eventually(fun() -> erlpy_ct:info(contexts) =:= Contexts end).

%% ---- The Erlang side -------------------------------------------------------------------

limit_of_connections(_Config) ->
    Reactor = start('Echo', #{max_connections => 3}),
    Clients = connections(Reactor, #{}, 3),
    {Refused, Served} = pair(),
    {error, too_many_connections} = hand(Reactor, Served, #{}),
    ok = closed(Refused),
    [ok = echoes(Client, <<"in">>) || Client <- Clients],
    ok = gen_tcp:close(hd(Clients)),
    eventually(fun() -> maps:get(active_connections, py_reactor_context:stats(Reactor)) =:= 2 end),
    ok = echoes(connection(Reactor), <<"again">>),
    #{total_connections := 4, max_connections := 3} = py_reactor_context:stats(Reactor),
    stop(Reactor).

bad_descriptors(Config) ->
    Reactor = start('Echo'),
    Descriptors = erlpy_reactors:descriptors(),
    {error, badfd} = py_reactor_context:handoff(Reactor, 9999, #{}),
    File = filename:join(proplists:get_value(priv_dir, Config), "file"),
    ok = file:write_file(File, <<"x">>),
    Fds = [begin {ok, Fd} = py:call(os, open, [list_to_binary(Path), Flags]), Fd end
           || {Path, Flags} <- [{File, 0}, {"/dev/null", 2}, {"/", 0}]],
    [{error, badfd} = py_reactor_context:handoff(Reactor, Fd, #{}) || Fd <- Fds],
    [{ok, none} = py:call(os, close, [Fd]) || Fd <- Fds],
    {ok, Listening} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Fd} = inet:getfd(Listening),
    {error, badfd} = py_reactor_context:handoff(Reactor, Fd, #{}),
    ok = gen_tcp:close(Listening),
    %% Those of an earlier case may have been closed meanwhile.
    true = erlpy_reactors:descriptors() =< Descriptors,
    #{total_connections := 0} = py_reactor_context:stats(Reactor),
    stop(Reactor).

duplicates(_Config) ->
    {Client, Served} = pair(),
    {ok, Fd} = inet:getfd(Served),
    {ok, Copy} = py:dup_fd(Fd),
    true = Copy =/= Fd,
    ok = gen_tcp:close(Served),
    {ok, 5} = py:call(os, write, [Copy, {bytes, <<"hello">>}]),
    ok = received(Client, <<"hello">>),
    {ok, false} = py:call(os, get_inheritable, [Copy]),
    {ok, none} = py:call(os, close, [Copy]),
    ok = closed(Client),
    {error, badfd} = py:dup_fd(9999),
    [badarg(py, dup_fd, [Wrong], 1) || Wrong <- [-1, a, 1.0, 1 bsl 31]],
    ok.

statistics(_Config) ->
    Reactor = start('Echo', #{max_connections => 7}),
    #{id := 'Echo', active_connections := 0, total_connections := 0, max_connections := 7,
      bytes_in := 0, bytes_out := 0} = Stats = py_reactor_context:stats(Reactor),
    6 = map_size(Stats),
    Client = connection(Reactor),
    ok = echoes(Client, binary:copy(<<"x">>, 1000)),
    eventually(fun() -> maps:get(bytes_out, py_reactor_context:stats(Reactor)) =:= 1000 end),
    #{active_connections := 1, bytes_in := 1000} = py_reactor_context:stats(Reactor),
    ok = gen_tcp:close(Client),
    ok = settled(Reactor),
    #{active_connections := 0, total_connections := 1} = py_reactor_context:stats(Reactor),
    stop(Reactor).

names(_Config) ->
    [begin
         Reactor = start('Echo', #{name => Name}),
         #{id := 'Echo'} = py_reactor_context:stats(Called),
         ok = echoes(connection(Called), <<"by name">>),
         {error, {already_started, Reactor}} =
             py_reactor_context:start_link(another, auto, #{name => Name}),
         stop(Called)
     end || {Name, Called} <- [{reactor_a, reactor_a}, {{local, reactor_b}, reactor_b},
                               {{global, reactor_c}, {global, reactor_c}},
                               {{via, global, reactor_d}, {via, global, reactor_d}}]],
    #{id := {py_reactor_context, 7}, start := {py_reactor_context, start_link, [7, auto, #{}]}} =
        py_reactor_context:child_spec({7, auto, #{}}),
    {noproc, _} = (catch exit_of(fun() -> py_reactor_context:stats(reactor_a) end)).

exit_of(Fun) ->
    try Fun() of Value -> ct:fail({no_exit, Value}) catch exit:Reason -> Reason end.

bad_arguments(_Config) ->
    M = py_reactor_context,
    [badarg(M, start_link, [1, Mode, #{}], 2) || Mode <- [threads, <<"auto">>, 1]],
    [badarg(M, start_link, [1, auto, Options], 3)
     || Options <- [#{max_connections => 0}, #{max_connections => infinity}, #{setup_code => a},
                    #{app_module => "x"}, #{app_callable => x}, #{name => undefined}, #{name => 1},
                    #{other => 1}, []]],
    Reactor = start('Echo'),
    [badarg(M, handoff, [Reactor, Fd, #{}], 2) || Fd <- [-1, a, 1 bsl 31]],
    badarg(M, handoff, [Reactor, 1, []], 3),
    badarg(M, handoff, [a, #{}], 1),
    badarg(M, handoff, [1, []], 2),
    stop(Reactor).

module_without_a_reactor(_Config) ->
    {ok, {[], [true, true], false, none}} = py:call(ct_reactor, module_says, []).

has(Text, Part) ->
    string:find(Text, Part) =/= nomatch.
