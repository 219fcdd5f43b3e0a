%% What the suites of the reactor share: reactors of ct_reactor, and the other ends of their
%% connections.
-module(erlpy_reactors).

-export([begin_case/0, end_case/1]).
-export([start/1, start/2, stop/1, connection/1, connection/2, connections/3, settled/1]).
-export([pair/0, pair/1, hand/3, begun/2, ends/1, echoes/2, closed/1, received/2]).
-export([logged/1, next_log/0, log/2]).
-export([descriptors/0]).

-import(erlpy_ct, [eventually/1, told/1]).

-define(WITHIN, 10000).

begin_case() ->
    {ok, _} = application:ensure_all_started(erlpy),
    true = register(reactor_test, self()),
    ok.

end_case(Config) ->
    catch unregister(reactor_test),
    erlpy_ct:left_clean(Config).

%% ---- Reactors ----------------------------------------------------------------------------

%% Whose protocols are of this class, or made by this function, of ct_reactor.
start(Factory) ->
    start(Factory, #{}).

start(Factory, Options) ->
    {ok, Reactor} = py_reactor_context:start_link(
        Factory, auto, Options#{app_module => ct_reactor, app_callable => Factory}),
    Reactor.

stop(Reactor) ->
    ok = py_reactor_context:stop(Reactor).

%% No connection is open.
settled(Reactor) ->
    eventually(fun() -> maps:get(active_connections, py_reactor_context:stats(Reactor)) =:= 0 end).

%% ---- Connections -------------------------------------------------------------------------

%% Both ends of a TCP connection.
pair() ->
    pair([]).

pair(More) ->
    Options = [binary, {active, false}, {nodelay, true} | More],
    {ok, Listening} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | Options]),
    {ok, Port} = inet:port(Listening),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    {ok, Served} = gen_tcp:accept(Listening, ?WITHIN),
    ok = gen_tcp:close(Listening),
    {Client, Served}.

hand(Reactor, Socket, Info) ->
    {ok, Fd} = inet:getfd(Socket),
    Answer = py_reactor_context:handoff(Reactor, Fd, Info),
    ok = gen_tcp:close(Socket),
    Answer.

%% The client's end of one that is served.
connection(Reactor) ->
    connection(Reactor, #{}).

connection(Reactor, Info) ->
    {Client, Served} = pair(),
    ok = hand(Reactor, Served, Info),
    Client.

connections(Reactor, Info, Count) ->
    [connection(Reactor, Info) || _ <- lists:seq(1, Count)].

%% A connection of Told that has got a byte, and its descriptor.
begun(Reactor, Info) ->
    Client = connection(Reactor, Info),
    Fd = told(made),
    ok = gen_tcp:send(Client, <<"x">>),
    <<"x">> = told(data),
    {Client, Fd}.

%% The client's end of a connection of Told goes.
ends(Client) ->
    ok = gen_tcp:close(Client),
    none = told(eof),
    <<"none">> = told(lost).

echoes(Client, Data) ->
    ok = gen_tcp:send(Client, Data),
    {ok, Data} = gen_tcp:recv(Client, byte_size(Data), ?WITHIN),
    ok.

%% Nothing more comes.
closed(Client) ->
    {error, closed} = gen_tcp:recv(Client, 0, ?WITHIN),
    ok.

received(Client, Data) ->
    {ok, Data} = gen_tcp:recv(Client, byte_size(Data), ?WITHIN),
    ok.

%% ---- The log -----------------------------------------------------------------------------

%% What is logged meanwhile comes as messages.
logged(Fun) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    try Fun() after logger:remove_handler(?MODULE) end.

next_log() ->
    receive {logged, error, Text} -> Text after ?WITHIN -> ct:fail(nothing_logged) end.

%% As a handler of logger.
log(#{level := Level, msg := {Format, Args}}, #{config := Pid}) when is_list(Format) ->
    Pid ! {logged, Level, lists:flatten(io_lib:format(Format, Args))},
    ok;
log(#{level := Level, msg := Message}, #{config := Pid}) ->
    Pid ! {logged, Level, Message},
    ok.

%% ---- The machine -------------------------------------------------------------------------

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).
