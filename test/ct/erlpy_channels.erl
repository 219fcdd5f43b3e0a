%% What the suites of channels have in common.
-module(erlpy_channels).

-export([new/0, new/1, full/0, full/1, call/2, later/2, await/1, info/3, waiting/4]).
-export([no_answer/1, start_waiting/3, start_receiving/2, dead/0]).

new() ->
    new(#{}).

new(Options) ->
    {ok, Channel} = py_channel:new(Options),
    Channel.

call(Function, Args) ->
    {ok, Value} = py:call(ct_channel, Function, Args),
    Value.

later(Function, Args) ->
    py:spawn_call(ct_channel, Function, Args).

await(Ref) ->
    {ok, Value} = py:await(Ref, 20_000),
    Value.

info(Channel, outbox, Key) -> maps:get(Key, maps:get(outbox, py_channel:info(Channel)));
info(Channel, inbox, Key) -> maps:get(Key, py_channel:info(Channel)).

%% So many wait.
waiting(Channel, Way, Key, N) ->
    erlpy_ct:eventually(fun() -> info(Channel, Way, Key) =:= N end).

no_answer({_Pid, Ref}) ->
    receive {Ref, Answer, _} -> ct:fail({answered, Answer}) after 0 -> ok end.

%% A sender that waits as the Nth.
start_waiting(Channel, Term, N) ->
    Job = erlpy_ct:job(fun() -> py_channel:send(Channel, Term, infinity) end),
    ok = waiting(Channel, inbox, waiting_senders, N),
    Job.

%% A receiver that waits as the Nth.
start_receiving(Channel, N) ->
    Job = erlpy_ct:job(fun() -> py_channel:recv(Channel) end),
    ok = waiting(Channel, outbox, waiting_receivers, N),
    Job.

dead() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Pid, _} -> Pid end.

%% No more messages fit in it.
full() ->
    full(#{max_size => 10}).

full(Options) ->
    Channel = new(Options),
    ok = py_channel:send(Channel, <<"first">>),
    Channel.
