%% Channels whose users die, are cancelled, stopped or reloaded, at every moment.
-module(channel_fault_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [job/1, result/1, told/1]).
-import(erlpy_channels, [
    new/0, new/1, call/2, later/2, await/1, info/3, waiting/4, full/0,
    start_waiting/3, start_receiving/2
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, senders}, {group, receivers}, {group, python}, {group, owners},
     {group, abandoning}, {group, runtime}, six_calls].

groups() ->
    [
        {senders, [], [killed_sender_sends_nothing, killed_senders_pass_their_turn_on,
                       killed_while_a_large_term_is_sent, timeout_in_a_race,
                       waiting_sender_is_a_holder]},
        {receivers, [], [killed_receiver_leaves_the_message, killed_after_it_was_told,
                         killed_with_a_large_message, killed_at_any_time,
                         told_and_timed_out]},
        {python, [], [interrupted_receive, interrupted_put, timed_out_call_in_receive,
                      timed_out_call_in_put, caller_killed_in_receive, race_cancels,
                      message_is_not_taken_by_a_cancelled_receive]},
        {owners, [], [owner_in_the_options, owner_that_ends_normally, owner_dead_before,
                      owner_replaced, owner_of_many, owner_that_waits,
                      end_with_a_thousand_that_wait]},
        {abandoning, [], [last_term_dies_with_its_process, abandoned_python_wakes,
                          pending_call_holds, message_holds, own_term_in_a_message]},
        {runtime, [], [stop_ends_those_who_wait, stop_leaves_the_messages,
                       purge_while_processes_wait, without_python, forked_child,
                       node_stops_with_those_who_wait]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% Until it is gone for all who monitor it.
kill({Pid, _Ref}) -> kill(Pid);
kill(Pid) ->
    unlink(Pid),
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

closes(Channel) ->
    erlpy_ct:eventually(fun() -> maps:get(closed, py_channel:info(Channel)) end).

%% ---- Senders ---------------------------------------------------------------------------

killed_sender_sends_nothing(_Config) ->
    Channel = full(),
    Sender = start_waiting(Channel, never, 1),
    kill(Sender),
    ok = waiting(Channel, inbox, waiting_senders, 0),
    [<<"first">>] = call(receive_some, [Channel, 1]),
    ok = py_channel:send(Channel, next),
    [<<"next">>] = call(receive_some, [Channel, 1]).

killed_senders_pass_their_turn_on(_Config) ->
    Channel = new(#{max_size => 20}),
    ok = py_channel:send(Channel, <<"12345">>),
    Large = start_waiting(Channel, binary:copy(<<"x">>, 15), 1),
    Small = start_waiting(Channel, 1, 2),
    kill(Large),
    ok = result(Small),
    Senders = [start_waiting(Channel, {long_enough_to_wait, N}, N) || N <- lists:seq(1, 40)],
    [kill(Sender) || {N, Sender} <- lists:zip(lists:seq(1, 40), Senders), N rem 2 =:= 1],
    ok = waiting(Channel, inbox, waiting_senders, 20),
    Left = [{<<"long_enough_to_wait">>, N} || N <- lists:seq(2, 40, 2)],
    [<<"12345">>, 1 | Left] = call(receive_some, [Channel, 22]),
    [ok = result(Sender) || {N, Sender} <- lists:zip(lists:seq(1, 40), Senders), N rem 2 =:= 0],
    #{messages := 0} = py_channel:info(Channel).

%% On a dirty scheduler: nothing of a process that is gone is left waiting.
killed_while_a_large_term_is_sent(_Config) ->
    Channel = full(),
    Large = lists:seq(1, 100_000),
    [begin
         Pid = spawn(fun() -> py_channel:send(Channel, Large, infinity) end),
         erlpy_ct:busy_wait(rand:uniform(5000)),
         kill(Pid)
     end || _ <- lists:seq(1, 100)],
    ok = waiting(Channel, inbox, waiting_senders, 0),
    [<<"first">>] = call(receive_some, [Channel, 1]),
    ok = py_channel:send(Channel, next),
    [<<"next">>] = call(receive_some, [Channel, 1]).

%% Room comes when the time is over.
timeout_in_a_race(_Config) ->
    Channel = full(),
    lists:foreach(
        fun(N) ->
            Sender = job(fun() -> py_channel:send(Channel, N, 2) end),
            erlpy_ct:busy_wait(1000 + rand:uniform(2000)),
            <<"first">> = call('receive', [Channel]),
            case result(Sender) of
                ok -> N = call('receive', [Channel]);
                {error, timeout} -> #{messages := 0} = py_channel:info(Channel)
            end,
            ok = py_channel:send(Channel, <<"first">>)
        end,
        lists:seq(1, 300)
    ).

%% The term is nowhere but in the call that waits.
waiting_sender_is_a_holder(_Config) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        Channel = full(),
        none = call(keep, [channel, Channel]),
        Self ! {self(), ready},
        ok = py_channel:send(Channel, second, infinity),
        Self ! {self(), done},
        receive stop -> ok end
    end),
    receive {Pid, ready} -> ok end,
    erlpy_ct:eventually(fun() -> process_info(Pid, status) =:= {status, waiting} end),
    true = garbage_collect(Pid),
    {ok, <<"first">>} = py:eval("__import__('ct_channel').kept['channel'].receive(5)"),
    receive {Pid, done} -> ok end,
    {ok, <<"second">>} = py:eval("__import__('ct_channel').kept['channel'].receive(5)"),
    none = call(forget, [channel]),
    Pid ! stop.

%% ---- Receivers -------------------------------------------------------------------------

killed_receiver_leaves_the_message(_Config) ->
    Channel = new(),
    kill(start_receiving(Channel, 1)),
    ok = waiting(Channel, outbox, waiting_receivers, 0),
    none = call(put, [Channel, 1]),
    {ok, 1} = py_channel:recv(Channel, 0).

%% It was told, and is killed before it looks: the next one is told.
killed_after_it_was_told(_Config) ->
    Channel = new(),
    First = start_receiving(Channel, 1),
    Second = start_receiving(Channel, 2),
    {Pid, _} = First,
    true = erlang:suspend_process(Pid),
    none = call(put, [Channel, 1]),
    1 = info(Channel, outbox, messages),
    1 = info(Channel, outbox, waiting_receivers),
    kill(First),
    {ok, 1} = result(Second),
    #{outbox := #{messages := 0, waiting_receivers := 0}} = py_channel:info(Channel).

%% It has been taken out of the queue, and is not in its process yet: it comes back.
killed_with_a_large_message(_Config) ->
    Channel = new(),
    Large = lists:seq(1, 30_000),
    none = call(put, [Channel, Large]),
    none = call(put, [Channel, next]),
    {Pid, Monitor} = spawn_monitor(fun() ->
        {large, _Taken} = py_nif:channel_receive(Channel)
    end),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    {ok, Large} = py_channel:recv(Channel, 5000),
    {ok, <<"next">>} = py_channel:recv(Channel, 0).

%% Each message reaches a process or stays.
killed_at_any_time(_Config) ->
    Channel = new(#{max_size => 2000}),
    Count = 3000,
    Putter = later(put_numbers, [Channel, 1, Count]),
    Collector = job(fun() -> collect(#{}) end),
    {CollectorPid, _} = Collector,
    ok = kill_receivers(Channel, CollectorPid, 300),
    _ = [spawn_link(fun() -> forward(Channel, CollectorPid) end) || _ <- [1, 2, 3]],
    none = await(Putter),
    ok = py_channel:close(Channel),
    ok = erlpy_ct:eventually(fun() -> info(Channel, outbox, messages) =:= 0 end),
    timer:sleep(100),
    CollectorPid ! stop,
    Seen = result(Collector),
    %% One that was killed between its receive and the word to the collector has it.
    Lost = Count - map_size(Seen),
    ct:pal("~b were with those who were killed", [Lost]),
    true = Lost =< 300,
    true = lists:all(fun(Times) -> Times =:= 1 end, maps:values(Seen)).

kill_receivers(_Channel, _Collector, 0) ->
    ok;
kill_receivers(Channel, Collector, Left) ->
    Pids = [spawn(fun() -> forward(Channel, Collector) end) || _ <- [1, 2, 3]],
    erlpy_ct:busy_wait(rand:uniform(1500)),
    [kill(Pid) || Pid <- Pids],
    kill_receivers(Channel, Collector, Left - 3).

forward(Channel, Collector) ->
    case py_channel:recv(Channel, rand:uniform(5) - 1) of
        {ok, N} -> Collector ! {got, N}, forward(Channel, Collector);
        {error, timeout} -> forward(Channel, Collector);
        {error, closed} -> ok
    end.

collect(Seen) ->
    receive
        {got, N} -> collect(maps:update_with(N, fun(Times) -> Times + 1 end, 1, Seen));
        stop -> Seen
    end.

%% The word came when the time was over: the message is taken, or left for another.
told_and_timed_out(_Config) ->
    Channel = new(),
    lists:foreach(
        fun(N) ->
            Receiver = job(fun() -> py_channel:recv(Channel, 2) end),
            erlpy_ct:busy_wait(1000 + rand:uniform(2000)),
            none = call(put, [Channel, N]),
            case result(Receiver) of
                {ok, N} -> {error, timeout} = py_channel:recv(Channel, 0);
                {error, timeout} -> {ok, N} = py_channel:recv(Channel, 0)
            end
        end,
        lists:seq(1, 300)
    ).

%% ---- Python's ends that are cancelled -----------------------------------------------------

interrupted_receive(_Config) ->
    {ok, Context} = py_context:new(),
    Channel = new(),
    lists:foreach(
        fun(N) ->
            Ref = py:spawn_call(Context, ct_channel, told_receive, [Channel, self()]),
            none = told(waiting),
            ok = waiting(Channel, inbox, waiting_receivers, 1),
            ok = py:interrupt(Context),
            {error, interrupted} = py:await(Ref, 5000),
            <<"Cancelled">> = told(ended),
            0 = info(Channel, inbox, waiting_receivers),
            ok = py_channel:send(Channel, N),
            {ok, N} = py:call(Context, ct_channel, 'receive', [Channel])
        end,
        lists:seq(1, 20)
    ),
    ok = py_context:destroy(Context).

interrupted_put(_Config) ->
    {ok, Context} = py_context:new(),
    Channel = new(#{max_size => 10}),
    none = call(put, [Channel, <<"first">>]),
    Ref = py:spawn_call(Context, ct_channel, told_put, [Channel, self(), never]),
    none = told(waiting),
    ok = waiting(Channel, outbox, waiting_senders, 1),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(Ref, 5000),
    <<"Cancelled">> = told(ended),
    {ok, <<"first">>} = py_channel:recv(Channel, 0),
    {error, timeout} = py_channel:recv(Channel, 0),
    ok = py_context:destroy(Context).

timed_out_call_in_receive(_Config) ->
    Channel = new(),
    {error, timeout} = py:call(ct_channel, told_receive, [Channel, self()], #{}, 500),
    none = told(waiting),
    <<"Cancelled">> = told(ended),
    ok = py_channel:send(Channel, 1),
    1 = call('receive', [Channel]).

timed_out_call_in_put(_Config) ->
    Channel = new(#{max_size => 10}),
    none = call(put, [Channel, <<"first">>]),
    {error, timeout} = py:call(ct_channel, told_put, [Channel, self(), never], #{}, 500),
    none = told(waiting),
    <<"Cancelled">> = told(ended),
    {ok, <<"first">>} = py_channel:recv(Channel, 0),
    {error, timeout} = py_channel:recv(Channel, 0).

caller_killed_in_receive(_Config) ->
    Channel = new(),
    Self = self(),
    Caller = erlpy_ct:caller(fun() -> py:call(ct_channel, told_receive, [Channel, Self]) end),
    none = told(waiting),
    ok = waiting(Channel, inbox, waiting_receivers, 1),
    exit(Caller, kill),
    <<"Cancelled">> = told(ended),
    ok = py_channel:send(Channel, 1),
    1 = call('receive', [Channel]).

%% A message is sent while the receive is cancelled: it was received, or is there still.
race_cancels(_Config) ->
    {ok, Context} = py_context:new(),
    Channel = new(),
    Outcomes = [begin
        Ref = py:spawn_call(Context, ct_channel, told_receive, [Channel, self()]),
        none = told(waiting),
        Sender = spawn_link(fun() ->
            erlpy_ct:busy_wait(rand:uniform(300)),
            ok = py_channel:send(Channel, N)
        end),
        erlpy_ct:busy_wait(rand:uniform(300)),
        ok = py:interrupt(Context),
        Ended = told(ended),
        _ = py:await(Ref, 5000),
        Monitor = monitor(process, Sender),
        receive {'DOWN', Monitor, process, Sender, _} -> ok end,
        case Ended of
            {<<"received">>, N} -> 0 = info(Channel, inbox, messages);
            <<"Cancelled">> -> N = call('receive', [Channel])
        end,
        Ended
    end || N <- lists:seq(1, 300)],
    ct:pal("~b cancelled", [length([E || E <- Outcomes, E =:= <<"Cancelled">>])]),
    ok = py_context:destroy(Context).

%% Two wait; the one that is told is cancelled before it has the GIL.
message_is_not_taken_by_a_cancelled_receive(_Config) ->
    {ok, Context} = py_context:new(),
    Channel = new(),
    First = py:spawn_call(Context, ct_channel, told_receive, [Channel, self()]),
    ok = waiting(Channel, inbox, waiting_receivers, 1),
    Second = later('receive', [Channel]),
    ok = waiting(Channel, inbox, waiting_receivers, 2),
    Holder = py:spawn_call(ct_cancel, run_hold_gil, [self(), 300_000]),
    _ = told(running),
    ok = py_channel:send(Channel, 1),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(First, 5000),
    1 = await(Second),
    none = told(waiting),
    <<"Cancelled">> = told(ended),
    _ = py:await(Holder, 5000),
    ok = py_context:destroy(Context).

%% ---- Owners ----------------------------------------------------------------------------

spawn_idle() ->
    spawn(fun() -> receive stop -> ok end end).

owner_in_the_options(_Config) ->
    Owner = spawn_idle(),
    Channel = new(#{owner => Owner, max_size => 10}),
    ok = py_channel:send(Channel, <<"first">>),
    Sender = start_waiting(Channel, second, 1),
    Receiver = start_receiving(Channel, 1),
    exit(Owner, kill),
    {error, closed} = result(Sender),
    {error, closed} = result(Receiver),
    [<<"first">>] = call(receive_all, [Channel]),
    {error, closed} = py_channel:send(Channel, x).

owner_that_ends_normally(_Config) ->
    Owner = spawn_idle(),
    Channel = new(),
    ok = py_channel:set_owner(Channel, Owner),
    Python = later(receive_all, [Channel]),
    ok = waiting(Channel, inbox, waiting_receivers, 1),
    Owner ! stop,
    [] = await(Python).

owner_dead_before(_Config) ->
    Dead = erlpy_channels:dead(),
    {error, closed} = py_channel:send(new(#{owner => Dead}), x),
    Channel = new(),
    ok = py_channel:set_owner(Channel, Dead),
    {error, closed} = py_channel:recv(Channel).

owner_replaced(_Config) ->
    First = spawn_idle(),
    Second = spawn_idle(),
    Channel = new(#{owner => First}),
    ok = py_channel:set_owner(Channel, Second),
    kill(First),
    timer:sleep(20),
    ok = py_channel:send(Channel, x),
    kill(Second),
    ok = closes(Channel).

owner_of_many(_Config) ->
    Owner = spawn_idle(),
    Channels = [new(#{owner => Owner}) || _ <- lists:seq(1, 1000)],
    exit(Owner, kill),
    [ok = closes(Channel) || Channel <- Channels],
    ok.

owner_that_waits(_Config) ->
    Channel = full(),
    Owner = job(fun() ->
        ok = py_channel:set_owner(Channel, self()),
        py_channel:send(Channel, second, infinity)
    end),
    ok = waiting(Channel, inbox, waiting_senders, 1),
    kill(Owner),
    ok = closes(Channel),
    [<<"first">>] = call(receive_all, [Channel]).

%% More than are told on a scheduler.
end_with_a_thousand_that_wait(_Config) ->
    Channels = [{full(), End} || End <- [fun py_channel:close/1, fun own_and_die/1]],
    [
        begin
            Senders = [job(fun() -> py_channel:send(Channel, x, infinity) end)
                       || _ <- lists:seq(1, 1000)],
            Receivers = [job(fun() -> py_channel:recv(Channel) end) || _ <- lists:seq(1, 1000)],
            ok = waiting(Channel, inbox, waiting_senders, 1000),
            ok = waiting(Channel, outbox, waiting_receivers, 1000),
            ok = End(Channel),
            [{error, closed} = result(Job) || Job <- Senders ++ Receivers],
            [<<"first">>] = call(receive_all, [Channel])
        end
     || {Channel, End} <- Channels
    ],
    ok.

own_and_die(Channel) ->
    Owner = spawn_idle(),
    ok = py_channel:set_owner(Channel, Owner),
    exit(Owner, kill),
    closes(Channel).

%% ---- Abandoning ------------------------------------------------------------------------

kept_is_closed() ->
    {ok, true} =:= py:eval("__import__('ct_channel').kept['channel'].closed").

last_term_dies_with_its_process(_Config) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(),
        none = call(keep, [channel, Channel]),
        ok = py_channel:send(Channel, 1)
    end),
    receive {'DOWN', Monitor, process, Pid, Why} -> normal = Why end,
    ok = erlpy_ct:eventually(fun kept_is_closed/0),
    {ok, [1]} = py:eval("list(__import__('ct_channel').kept['channel'])"),
    none = call(forget, [channel]).

abandoned_python_wakes(_Config) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(),
        none = call(receive_from_a_thread, [Channel, Self]),
        none = call(keep, [channel, Channel])
    end),
    receive {'DOWN', Monitor, process, Pid, Why} -> normal = Why end,
    ok = erlpy_ct:eventually(fun kept_is_closed/0),
    {ok, []} = py:eval("list(__import__('ct_channel').kept['channel'])"),
    none = call(forget, [channel]).

%% A call that is queued.
pending_call_holds(_Config) ->
    {ok, Context} = py_context:new(),
    Busy = py:spawn_call(Context, time, sleep, [0.3]),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(),
        ok = py_channel:send(Channel, 1),
        ok = py:cast(Context, ct_channel, keep, [channel, Channel])
    end),
    receive {'DOWN', Monitor, process, Pid, Why} -> normal = Why end,
    {ok, none} = py:await(Busy, 5000),
    {ok, 1} = py:eval(Context, "__import__('ct_channel').kept['channel'].receive(5)"),
    none = call(forget, [channel]),
    ok = py_context:destroy(Context).

%% A message of another channel.
%% The second message holds it when the first one has gone.
message_holds(_Config) ->
    Outer = new(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Inner = new(),
        ok = py_channel:send(Inner, 1),
        ok = py_channel:send(Outer, {take, Inner}),
        ok = py_channel:send(Outer, {leave, Inner})
    end),
    receive {'DOWN', Monitor, process, Pid, Why} -> normal = Why end,
    {ok, [1, false]} = py:eval("(lambda i: [i.receive(5), i.closed])(o.receive()[1])", #{o => Outer}).

own_term_in_a_message(_Config) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        Channel = new(),
        none = call(keep, [channel, Channel]),
        ok = py_channel:send(Channel, Channel)
    end),
    receive {'DOWN', Monitor, process, Pid, Why} -> normal = Why end,
    {ok, true} = py:eval("(lambda c: c.receive(5) == c)(__import__('ct_channel').kept['channel'])"),
    ok = erlpy_ct:eventually(fun kept_is_closed/0),
    none = call(forget, [channel]).

%% ---- The runtime -------------------------------------------------------------------------

stop_ends_those_who_wait(Config) ->
    {ok, Context} = py_context:new(),
    Channel = full(),
    none = call(put, [Channel, <<"first">>]),
    Empty = new(),
    Calls = [py:spawn_call(Context, ct_channel, 'receive', [Empty]),
             later('receive', [Empty]), later(put, [Channel, never]), later(receive_all, [Empty])],
    ok = waiting(Empty, inbox, waiting_receivers, 3),
    ok = waiting(Channel, outbox, waiting_senders, 1),
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Took < 1500,
    [{error, stopped} = py:await(Call, 5000) || Call <- Calls],
    #{waiting_receivers := 0} = py_channel:info(Empty),
    #{outbox := #{waiting_senders := 0, messages := 1}} = py_channel:info(Channel),
    ok = erlpy_ct:start(Config).

stop_leaves_the_messages(Config) ->
    Channel = new(),
    ok = py_channel:send(Channel, 1),
    none = call(put, [Channel, 2]),
    ok = application:stop(erlpy),
    ok = py_channel:send(Channel, lists:seq(1, 20_000)),
    {ok, 2} = py_channel:recv(Channel),
    {error, timeout} = py_channel:recv(Channel, 10),
    ok = erlpy_ct:start(Config),
    1 = call('receive', [Channel]),
    20_000 = length(call('receive', [Channel])).

%% All but py_wait can go at any time.
purge_while_processes_wait(_Config) ->
    Channel = full(),
    Sender = start_waiting(Channel, second, 1),
    Receivers = [start_receiving(Channel, 1),
                 job(fun() -> py_channel:recv(Channel, 50_000) end)],
    ok = waiting(Channel, outbox, waiting_receivers, 2),
    {ok, Modules} = application:get_key(erlpy, modules),
    [begin
         _ = code:purge(Module),
         {module, Module} = code:load_file(Module)
     end || _ <- [1, 2], Module <- Modules -- [py_wait]],
    [_ = code:purge(Module) || Module <- Modules -- [py_wait]],
    #{waiting_senders := 1, outbox := #{waiting_receivers := 2}} = py_channel:info(Channel),
    [<<"first">>, <<"second">>] = call(receive_some, [Channel, 2]),
    none = call(put_all, [Channel, [1, 2]]),
    ok = result(Sender),
    [{ok, 1}, {ok, 2}] = lists:sort([result(Receiver) || Receiver <- Receivers]).

without_python(Config) ->
    ok = application:stop(erlpy),
    Channel = new(#{max_size => 10, owner => self()}),
    ok = py_channel:send(Channel, <<"first">>),
    {error, timeout} = py_channel:send(Channel, x, 10),
    {error, timeout} = py_channel:recv(Channel, 10),
    ok = py_channel:close(Channel),
    {error, closed} = py_channel:recv(Channel),
    ok = erlpy_ct:start(Config).

forked_child(_Config) ->
    Channel = new(),
    ok = py_channel:send(Channel, 1),
    none = call(put, [Channel, 2]),
    {ok, <<"RuntimeError RuntimeError RuntimeError">>} =
        py:call(ct_channel, attempts_in_a_child, [Channel]),
    1 = call('receive', [Channel]),
    {ok, 2} = py_channel:recv(Channel, 0).

node_stops_with_those_who_wait(Config) ->
    {Peer, _} = erlpy_ct:peer(channel, #{}),
    ok = peer:call(Peer, ?MODULE, wait_everywhere, [Config], 20_000),
    {Took, ok} = erlpy_ct:timed(fun() -> peer:stop(Peer) end),
    ct:pal("~b ms", [Took]),
    true = Took < 5000.

wait_everywhere(Config) ->
    ok = erlpy_ct:start(Config),
    Channel = full(),
    none = call(put, [Channel, <<"first">>]),
    Empty = new(),
    %% They would say so, if they could.
    Calls = [spawn(fun() -> py:call(ct_channel, Function, Args) end)
             || {Function, Args} <- [{'receive', [Empty]}, {put, [Channel, never]}]],
    Processes = [spawn(fun() -> py_channel:send(Channel, never, infinity) end),
                 spawn(fun() -> py_channel:recv(Empty) end)],
    4 = length(Calls ++ Processes),
    ok = waiting(Empty, inbox, waiting_receivers, 1),
    ok = waiting(Empty, outbox, waiting_receivers, 1),
    ok = waiting(Channel, inbox, waiting_senders, 1),
    ok = waiting(Channel, outbox, waiting_senders, 1),
    true = register(?MODULE, spawn(fun() -> receive {Channel, Empty} -> ok end end)),
    ok.

six_calls(_Config) ->
    erlpy_ct:still_works().
