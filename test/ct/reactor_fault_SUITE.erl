%% Reactors when something goes wrong, or very much goes on: deaths, stops, slow protocols,
%% churn.
%%
%% After every case fresh calls succeed and no message is left over.
-module(reactor_fault_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [eventually/1, eventually/2, told/1, nothing_told/1]).
-import(erlpy_reactors, [start/1, start/2, stop/1, connection/1, connection/2, connections/3, pair/0,
                         hand/3, echoes/2, closed/1, settled/1, logged/1, descriptors/0]).

-define(WITHIN, 10000).
-define(CHURN, 10000).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [killed, killed_in_python, killed_in_a_sleep, stopped_in_a_sleep, interrupted_protocol,
     application_stops, supervised, slow_protocol, caller_dies_after_handoff, handoff_to_the_dead,
     handoffs_beside_the_end, closed_while_written, abandoned, abandoned_in_a_batch, churn, many_at_once, idle,
     calls_from_a_protocol, unloaded].

init_per_suite(Config) ->
    [_ | _] = [made, data, ready, eof, lost, asleep],
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_reactors:begin_case(),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_reactors:end_case(Config).

%% Not linked to the case.
unlinked(Factory) ->
    Reactor = start(Factory),
    true = unlink(Reactor),
    Reactor.

made(Reactor, Count) ->
    Clients = connections(Reactor, #{}, Count),
    [_ = told(made) || _ <- Clients],
    Clients.

%% ---- Ends ------------------------------------------------------------------------------

%% Everybody is told once, and every descriptor is closed.
killed(_Config) ->
    Before = descriptors(),
    Contexts = erlpy_ct:info(contexts),
    Reactor = unlinked('Told'),
    Clients = made(Reactor, 50),
    true = exit(Reactor, kill),
    [ok = closed(Client) || Client <- Clients],
    [<<"ConnectionAbortedError">> = told(lost) || _ <- Clients],
    [gen_tcp:close(Client) || Client <- Clients],
    eventually(fun() -> descriptors() =:= Before end),
    eventually(fun() -> erlpy_ct:info(contexts) =:= Contexts end),
    nothing_told(50).

killed_in_python(_Config) ->
    Reactor = unlinked('Busy'),
    [First | _] = Clients = made(Reactor, 5),
    ok = gen_tcp:send(First, <<"x">>),
    none = told(asleep),
    true = exit(Reactor, kill),
    [ok = closed(Client) || Client <- Clients],
    [<<"ConnectionAbortedError">> = told(lost) || _ <- Clients],
    nothing_told(50).

%% Python code that cannot be cancelled keeps no descriptor open.
killed_in_a_sleep(_Config) ->
    Before = descriptors(),
    Reactor = unlinked('Slow'),
    [First | _] = Clients = made(Reactor, 5),
    ok = gen_tcp:send(First, <<"1.5">>),
    none = told(asleep),
    true = exit(Reactor, kill),
    {Took, _} = erlpy_ct:timed(fun() -> [ok = closed(Client) || Client <- Clients] end),
    true = Took < 1000,
    [gen_tcp:close(Client) || Client <- Clients],
    eventually(fun() -> descriptors() =:= Before end, 1000),
    nothing_told(0),
    [<<"ConnectionAbortedError">> = told(lost) || _ <- Clients],
    erlpy_ct:quiet().

stopped_in_a_sleep(_Config) ->
    Reactor = start('Slow'),
    [First | _] = Clients = made(Reactor, 5),
    ok = gen_tcp:send(First, <<"3">>),
    none = told(asleep),
    {Took, ok} = erlpy_ct:timed(fun() -> stop(Reactor) end),
    true = Took < 2900,
    [ok = closed(Client) || Client <- Clients],
    [<<"ConnectionAbortedError">> = told(lost) || _ <- Clients],
    erlpy_ct:quiet().

%% A stop lets what runs come to its end first.
interrupted_protocol(_Config) ->
    Reactor = start('Slow'),
    [First] = made(Reactor, 1),
    ok = gen_tcp:send(First, <<"0.3">>),
    none = told(asleep),
    ok = stop(Reactor),
    <<"0.3">> = told(data),
    <<"ConnectionAbortedError">> = told(lost),
    ok = closed(First).

application_stops(_Config) ->
    Before = descriptors(),
    Reactor = unlinked('Told'),
    Monitor = monitor(process, Reactor),
    Clients = made(Reactor, 20),
    Busy = unlinked('Busy'),
    [Spinning] = made(Busy, 1),
    ok = gen_tcp:send(Spinning, <<"x">>),
    none = told(asleep),
    ok = application:stop(erlpy),
    [ok = closed(Client) || Client <- [Spinning | Clients]],
    [<<"ConnectionAbortedError">> = told(lost) || _ <- [Spinning | Clients]],
    {reactor_ended, {error, stopped}} = erlpy_ct:down(Monitor),
    [gen_tcp:close(Client) || Client <- [Spinning | Clients]],
    ok = application:start(erlpy),
    eventually(fun() -> descriptors() =< Before + 2 end).

supervised(_Config) ->
    Supervisor = spawn_supervisor(
        [py_reactor_context:child_spec({N, auto, #{app_module => ct_reactor, app_callable => 'Echo',
                                                   name => supervised_name(N)}}) || N <- [1, 2]]),
    [One, Two] = [connection(supervised_name(N)) || N <- [1, 2]],
    Old = whereis(supervised_name(1)),
    true = exit(Old, kill),
    ok = closed(One),
    ok = echoes(Two, <<"another">>),
    eventually(fun() -> not lists:member(whereis(supervised_name(1)), [Old, undefined]) end),
    ok = echoes(connection(supervised_name(1)), <<"again">>),
    Monitor = monitor(process, Supervisor),
    true = exit(Supervisor, shutdown),
    shutdown = erlpy_ct:down(Monitor),
    ok = closed(Two).

supervised_name(1) -> reactor_supervised_1;
supervised_name(2) -> reactor_supervised_2.

spawn_supervisor(Children) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, Children),
    true = unlink(Supervisor),
    Supervisor.

init(Children) ->
    {ok, {#{strategy => one_for_one}, Children}}.

%% ---- Others ----------------------------------------------------------------------------

%% Calls, and the connections of another reactor, go on beside it.
slow_protocol(_Config) ->
    [Slow, Fast] = [start('Slow'), start('Echo')],
    [Sleeper] = made(Slow, 1),
    ok = gen_tcp:send(Sleeper, <<"1.0">>),
    none = told(asleep),
    Client = connection(Fast),
    {Took, _} = erlpy_ct:timed(fun() -> [ok = echoes(Client, <<"fast">>) || _ <- lists:seq(1, 20)] end),
    true = Took < 900,
    erlpy_ct:still_works(),
    <<"1.0">> = told(data),
    stop(Slow),
    <<"ConnectionAbortedError">> = told(lost),
    stop(Fast).

caller_dies_after_handoff(_Config) ->
    Reactor = start('Echo'),
    Self = self(),
    Caller = spawn(fun() -> Self ! {client, connection(Reactor)} , timer:sleep(infinity) end),
    Monitor = monitor(process, Caller),
    Client = receive {client, Connection} -> Connection end,
    %% Its end of the connection is the test's.
    {Own, Served} = pair(),
    ok = gen_tcp:controlling_process(Served, Caller),
    {ok, Fd} = inet:getfd(Served),
    ok = py_reactor_context:handoff(Reactor, Fd, #{}),
    true = exit(Caller, kill),
    killed = erlpy_ct:down(Monitor),
    ok = echoes(Own, <<"alive">>),
    gen_tcp:close(Client),
    stop(Reactor).

handoff_to_the_dead(_Config) ->
    Reactor = unlinked('Echo'),
    Monitor = monitor(process, Reactor),
    true = exit(Reactor, kill),
    killed = erlpy_ct:down(Monitor),
    {Client, Served} = pair(),
    {ok, Fd} = inet:getfd(Served),
    {noproc, _} = exit_of(fun() -> py_reactor_context:handoff(Reactor, Fd, #{}) end),
    ok = gen_tcp:close(Served),
    ok = closed(Client).

exit_of(Fun) ->
    try Fun() of Value -> ct:fail({no_exit, Value}) catch exit:Reason -> Reason end.

%% Each is refused, or closed by the end of the reactor: none hangs.
handoffs_beside_the_end(_Config) ->
    Before = descriptors(),
    [begin
         Reactor = unlinked('Counted'),
         Self = self(),
         Pids = [spawn_link(fun() -> Self ! {self(), hands(Reactor, 20)} end) || _ <- [1, 2, 3]],
         timer:sleep(N),
         case N rem 2 of
             0 -> exit(Reactor, kill);
             1 -> ok = py_reactor_context:stop(Reactor)
         end,
         [receive {Pid, ok} -> ok after ?WITHIN -> ct:fail(hangs) end || Pid <- Pids]
     end || N <- lists:seq(1, 20)],
    eventually(fun() -> descriptors() =:= Before end),
    eventually(fun() -> {ok, {Made, Lost, Alive}} = counts(), Made =:= Lost andalso Alive =:= 0 end).

counts() ->
    py:call(ct_reactor, counts, []).

hands(_Reactor, 0) ->
    ok;
hands(Reactor, Left) ->
    {Client, Served} = pair(),
    try hand(Reactor, Served, #{}) of
        ok ->
            _ = gen_tcp:send(Client, <<"x">>),
            _ = gen_tcp:recv(Client, 1, ?WITHIN);
        {error, closed} ->
            ok
    catch
        exit:_ -> gen_tcp:close(Served)
    end,
    gen_tcp:close(Client),
    hands(Reactor, Left - 1).

%% The reactor dies while much is being sent, again and again.
closed_while_written(_Config) ->
    Before = descriptors(),
    Greeting = binary:copy(<<"0123456789">>, 1000000),
    [begin
         Reactor = unlinked('Told'),
         Clients = connections(Reactor, #{greeting => Greeting}, 4),
         [_ = told(made) || _ <- Clients],
         [{ok, _} = gen_tcp:recv(Client, 100000, ?WITHIN) || Client <- Clients],
         true = exit(Reactor, kill),
         [gen_tcp:close(Client) || Client <- Clients],
         [_ = told(lost) || _ <- Clients]
     end || _ <- lists:seq(1, 10)],
    eventually(fun() -> descriptors() =:= Before end).

%% Connections that were never served since the reactor died first.
abandoned(_Config) ->
    Before = descriptors(),
    Reactor = unlinked('Slow'),
    [First] = made(Reactor, 1),
    ok = gen_tcp:send(First, <<"0.5">>),
    none = told(asleep),
    Clients = connections(Reactor, #{}, 10),
    true = exit(Reactor, kill),
    [ok = closed(Client) || Client <- [First | Clients]],
    [gen_tcp:close(Client) || Client <- [First | Clients]],
    <<"ConnectionAbortedError">> = told(lost),
    nothing_told(50),
    eventually(fun() -> descriptors() =:= Before end).

%% Those that were to be begun after one that is cancelled.
abandoned_in_a_batch(_Config) ->
    Before = descriptors(),
    {ok, Kept} = py:call(ct_reactor, connections, []),
    Reactor = unlinked('BusyMade'),
    Sleeping = connection(Reactor, #{sleep => 0.3}),
    none = told(asleep),
    Busy = connection(Reactor, #{busy => true}),
    Clients = connections(Reactor, #{}, 20),
    none = told(asleep),
    true = exit(Reactor, kill),
    [ok = closed(Client) || Client <- [Sleeping, Busy | Clients]],
    [gen_tcp:close(Client) || Client <- [Sleeping, Busy | Clients]],
    eventually(fun() -> descriptors() =:= Before end),
    eventually(fun() -> py:call(ct_reactor, connections, []) =:= {ok, Kept} end),
    nothing_told(0).

%% ---- Much ------------------------------------------------------------------------------

%% 10,000 connections come and go in every way; none is left, and nothing is logged.
churn(_Config) ->
    Before = descriptors(),
    {ok, {Made, Made, _}} = counts(),
    Reactors = [start('Counted', #{max_connections => 1000}) || _ <- [1, 2]],
    logged(fun() ->
        {ok, Listening} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, 1024}]),
        {ok, Port} = inet:port(Listening),
        Acceptors = [spawn_link(fun() -> accept(Listening, Reactor) end) || Reactor <- Reactors ++ Reactors],
        Self = self(),
        Clients = [spawn_link(fun() -> Self ! {self(), come_and_go(Port, ?CHURN div 20)} end)
                   || _ <- lists:seq(1, 20)],
        [receive {Client, ok} -> ok after 60000 -> ct:fail(hangs) end || Client <- Clients],
        ok = eventually(fun() -> total_connections(Reactors) =:= ?CHURN end),
        [begin unlink(Pid), exit(Pid, kill) end || Pid <- Acceptors],
        ok = gen_tcp:close(Listening),
        [ok = settled(Reactor) || Reactor <- Reactors],
        nothing_told(0)
    end),
    eventually(fun() -> descriptors() =:= Before end),
    All = Made + ?CHURN,
    ok = eventually(fun() -> counts() =:= {ok, {All, All, 0}} end),
    [stop(Reactor) || Reactor <- Reactors].

total_connections(Reactors) ->
    lists:sum([maps:get(total_connections, py_reactor_context:stats(Reactor)) || Reactor <- Reactors]).

accept(Listening, Reactor) ->
    {ok, Served} = gen_tcp:accept(Listening),
    ok = hand(Reactor, Served, #{peer => <<"somebody">>}),
    accept(Listening, Reactor).

come_and_go(_Port, 0) ->
    ok;
come_and_go(Port, Left) ->
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    go(Left rem 5, Client),
    ok = gen_tcp:close(Client),
    come_and_go(Port, Left - 1).

go(0, _Client) ->
    ok;
go(1, Client) ->
    echoes(Client, <<"hello">>);
go(2, Client) ->
    ok = gen_tcp:send(Client, <<"last">>),
    ok = gen_tcp:shutdown(Client, write),
    {ok, <<"last">>} = gen_tcp:recv(Client, 4, ?WITHIN),
    closed(Client);
go(3, Client) ->
    ok = gen_tcp:send(Client, <<"reset">>),
    ok = inet:setopts(Client, [{linger, {true, 0}}]);
go(4, Client) ->
    echoes(Client, binary:copy(<<"x">>, 50000)).

many_at_once(_Config) ->
    Before = descriptors(),
    Reactor = start('Echo', #{max_connections => 1000}),
    Clients = connections(Reactor, #{}, 500),
    [ok = gen_tcp:send(Client, <<N:32>>) || {N, Client} <- lists:enumerate(Clients)],
    [{ok, <<N:32>>} = gen_tcp:recv(Client, 4, ?WITHIN) || {N, Client} <- lists:enumerate(Clients)],
    {Took, ok} = erlpy_ct:timed(fun() -> stop(Reactor) end),
    true = Took < 2000,
    [ok = closed(Client) || Client <- Clients],
    [ok = gen_tcp:close(Client) || Client <- Clients],
    eventually(fun() -> descriptors() =:= Before end).

%% A reactor with connections on which nothing happens takes no time of the processor.
idle(_Config) ->
    Reactor = start('Echo'),
    Clients = connections(Reactor, #{}, 50),
    [ok = echoes(Client, <<"x">>) || Client <- Clients],
    eventually(fun() ->
        Before = python_ns(),
        timer:sleep(500),
        python_ns() - Before < 5000000
    end, 10000),
    [gen_tcp:close(Client) || Client <- Clients],
    stop(Reactor).

%% Processor time of the threads of the library.
python_ns() ->
    {ok, Ids} = file:list_dir("/proc/self/task"),
    lists:sum([task_ns(["/proc/self/task/", Id]) || Id <- Ids]).

task_ns(Dir) ->
    case {file:read_file([Dir, "/comm"]), file:read_file([Dir, "/schedstat"])} of
        {{ok, <<"erlpy_", _/binary>>}, {ok, Stat}} ->
            binary_to_integer(hd(binary:split(Stat, <<" ">>)));
        _ ->
            0
    end.

%% Erlang functions, and buffers, are there in a protocol as everywhere.
calls_from_a_protocol(_Config) ->
    ok = py:register_function(reactor_upper, fun(Text) -> string:uppercase(Text) end),
    {ok, Reactor} = py_reactor_context:start_link(calls, auto, #{setup_code => <<"
import erlang
from erlang import reactor

class Upper(reactor.Protocol):
    def data_received(self, data):
        self.write_buffer += erlang.call('reactor_upper', data.decode()).encode()
        return 'write_pending'

reactor.set_protocol_factory(Upper)
">>}),
    Client = connection(Reactor),
    ok = gen_tcp:send(Client, <<"hello">>),
    {ok, <<"HELLO">>} = gen_tcp:recv(Client, 5, ?WITHIN),
    ok = py:unregister_function(reactor_upper),
    stop(Reactor).

%% Reloading the API module under a reactor disturbs nobody.
unloaded(_Config) ->
    Reactor = start('Echo'),
    Client = connection(Reactor),
    [begin
         {module, Module} = code:load_file(Module),
         _ = code:soft_purge(Module),
         ok = echoes(Client, <<"reloaded">>)
     end || Module <- [py_reactor_context, erlpy_reactor]],
    true = is_process_alive(Reactor),
    stop(Reactor).
