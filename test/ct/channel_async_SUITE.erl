%% Channels that coroutines receive from: on the library's event loops, on loops of
%% Python's own, beside threads.
%%
%% After every case fresh calls succeed and no message is left over.
-module(channel_async_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [eventually/1]).

-define(MANY, 2000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [waits_for_a_message, none_is_a_message, what_is_there_already, iterates_until_the_close,
     loop_of_its_own, many_wait_on_one_channel, first_of_several, answers_whom_asked,
     timeout_in_python, timed_out_call, killed_caller, killed_beside_a_send,
     cancelled_when_told,
     stopped_while_they_wait, everybody_at_once].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

end_per_testcase(_Case, Config) ->
    {ok, _} = application:ensure_all_started(erlpy),
    erlpy_ct:left_clean(Config).

%% ---- One at a time -----------------------------------------------------------------

waits_for_a_message(_Config) ->
    Channel = new(),
    Ref = py:spawn_call(ct_channel_async, 'receive', [Channel]),
    ok = waiting(Channel, 1),
    ok = py_channel:send(Channel, {1, <<"text">>}),
    {ok, {1, <<"text">>}} = py:await(Ref),
    ok = waiting(Channel, 0).

none_is_a_message(_Config) ->
    Channel = new(),
    Refs = [py:spawn_call(ct_channel_async, 'receive', [Channel]) || _ <- [1, 2]],
    ok = waiting(Channel, 2),
    ok = py_channel:send(Channel, none),
    ok = py_channel:send(Channel, undefined),
    [{ok, none}, {ok, none}] = [py:await(Ref) || Ref <- Refs].

what_is_there_already(_Config) ->
    Channel = new(),
    ok = py_channel:send(Channel, 1),
    {ok, 1} = py:call(ct_channel_async, 'receive', [Channel]).

iterates_until_the_close(_Config) ->
    Channel = new(),
    Ref = py:spawn_call(ct_channel_async, gather, [Channel]),
    ok = waiting(Channel, 1),
    [ok = py_channel:send(Channel, N) || N <- lists:seq(1, 100)],
    ok = py_channel:send(Channel, none),
    ok = py_channel:close(Channel),
    Expected = lists:seq(1, 100) ++ [none],
    {ok, Expected} = py:await(Ref),
    {error, {<<"ChannelClosed">>, <<"the channel is closed">>, _}} =
        py:call(ct_channel_async, 'receive', [Channel]),
    ok.

loop_of_its_own(_Config) ->
    Channel = new(),
    Ref = py:spawn_call(ct_channel_async, in_a_loop_of_its_own, [Channel]),
    ok = waiting(Channel, 1),
    [ok = py_channel:send(Channel, N) || N <- [1, 2, 3]],
    ok = py_channel:close(Channel),
    {ok, [1, 2, 3]} = py:await(Ref).

many_wait_on_one_channel(_Config) ->
    Channel = new(),
    Refs = [py:spawn_call(ct_channel_async, 'receive', [Channel]) || _ <- lists:seq(1, ?MANY)],
    ok = waiting(Channel, ?MANY),
    [ok = py_channel:send(Channel, N) || N <- lists:seq(1, ?MANY)],
    Expected = lists:seq(1, ?MANY),
    Expected = lists:sort([begin {ok, N} = py:await(Ref), N end || Ref <- Refs]),
    #{messages := 0, waiting_receivers := 0} = py_channel:info(Channel),
    ok.

first_of_several(_Config) ->
    Channels = [A, B, C] = [new() || _ <- [1, 2, 3]],
    Ref = py:spawn_call(ct_channel_async, first_of, [Channels]),
    [ok = waiting(Channel, 1) || Channel <- Channels],
    ok = py_channel:send(B, b),
    {ok, [<<"b">>]} = py:await(Ref),
    [ok = waiting(Channel, 0) || Channel <- Channels],
    ok = py_channel:send(A, a),
    ok = py_channel:send(C, c),
    {ok, <<"a">>} = py:call(ct_channel_async, 'receive', [A]),
    {ok, <<"c">>} = py:call(ct_channel_async, 'receive', [C]).

answers_whom_asked(_Config) ->
    Channel = new(),
    Server = py:spawn_call(ct_channel_async, answer, [Channel]),
    {Dead, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Dead, _} -> ok end,
    ok = py_channel:send(Channel, {Dead, 0}),
    Question = make_ref(),
    ok = py_channel:send(Channel, {self(), Question}),
    receive {<<"answer">>, Question} -> ok end,
    ok = py_channel:close(Channel),
    {ok, none} = py:await(Server).

%% ---- Those that give up ------------------------------------------------------------

timeout_in_python(_Config) ->
    Channel = new(),
    {error, {<<"TimeoutError">>, _, _}} =
        py:call(ct_channel_async, receive_within, [Channel, 0.01]),
    ok = waiting(Channel, 0),
    ok = kept(Channel).

timed_out_call(_Config) ->
    Channel = new(),
    {error, timeout} = py:call(ct_channel_async, 'receive', [Channel], #{}, 20),
    ok = waiting(Channel, 0),
    ok = kept(Channel).

killed_caller(_Config) ->
    Channel = new(),
    Caller = spawn(fun() -> py:call(ct_channel_async, 'receive', [Channel]) end),
    ok = waiting(Channel, 1),
    exit(Caller, kill),
    ok = waiting(Channel, 0),
    ok = kept(Channel).

%% Whatever comes first: the message is put out once, by the one that was killed or by
%% the one that waits behind it.
killed_beside_a_send(_Config) ->
    Out = new(),
    [begin
        Channel = new(),
        Caller = spawn(fun() -> py:call(ct_channel_async, forward, [Channel, Out]) end),
        ok = waiting(Channel, 1),
        Next = py:spawn_call(ct_channel_async, forward, [Channel, Out]),
        ok = waiting(Channel, 2),
        ok = py_channel:send(Channel, Turn),
        erlpy_ct:busy_wait(Turn rem 50 * 10),
        exit(Caller, kill),
        {ok, Turn} = py_channel:recv(Out, 10_000),
        ok = py_channel:close(Channel),
        _ = py:await(Next),
        #{messages := 0, waiting_receivers := 0} = settled(Channel)
     end || Turn <- lists:seq(1, 200)],
    {error, timeout} = py_channel:recv(Out, 0).

%% A thread that was told of a message finds the cancel when it has the GIL at last: the
%% next one is told.
cancelled_when_told(_Config) ->
    ok = cancel_when_told(fun(Channel) -> py:spawn_call(ct_channel, 'receive', [Channel]) end),
    ok = cancel_when_told(fun(Channel) ->
        py:spawn_call(ct_channel_async, 'receive', [Channel])
    end).

cancel_when_told(StartNext) ->
    Channel = new(),
    {ok, Context} = py_context:new(),
    First = py:spawn_call(Context, ct_channel, 'receive', [Channel]),
    ok = waiting(Channel, 1),
    Next = StartNext(Channel),
    ok = waiting(Channel, 2),
    ok = py:cast(ct_cancel, run_hold_gil, [self(), 300_000]),
    none = erlpy_ct:told(running),
    #{parked := Parked} = py:info(),
    ok = py_channel:send(Channel, passed_on),
    ok = eventually(fun() -> #{parked := Now} = py:info(), Now < Parked end),
    ok = py:interrupt(Context),
    {error, interrupted} = py:await(First),
    {ok, <<"passed_on">>} = py:await(Next),
    ok = py_context:destroy(Context).

stopped_while_they_wait(Config) ->
    Channel = new(),
    Refs = [py:spawn_call(ct_channel_async, 'receive', [Channel]) || _ <- lists:seq(1, 20)],
    ok = waiting(Channel, 20),
    ok = application:stop(erlpy),
    [{error, stopped} = py:await(Ref) || Ref <- Refs],
    ok = waiting(Channel, 0),
    ok = py_channel:send(Channel, kept),
    ok = erlpy_ct:start(Config),
    {ok, <<"kept">>} = py:call(ct_channel_async, 'receive', [Channel]).

%% ---- Many at once ------------------------------------------------------------------

%% Threads, loops in threads, tasks of the library's loop that are cancelled by the end of
%% their call's time; senders that wait for room: each message arrives once.
everybody_at_once(_Config) ->
    Channel = new(#{max_size => 200}),
    Out = new(),
    Count = 1500,
    Threads = [py:spawn_call(ct_channel_async, forward_in_a_thread, [Channel, Out, Seed])
               || Seed <- [1, 2, 3]],
    Loops = py:spawn_call(ct_channel_async, forward_in_loops, [Channel, Out, 10]),
    Tasks = [py:spawn_call(ct_channel_async, forward_with_cancels, [Channel, Out, Seed])
             || Seed <- [21, 22]],
    Callers = [spawn_link(fun() -> call_until_closed(Channel, Out) end) || _ <- lists:seq(1, 5)],
    Senders = [spawn_link(fun() -> send_all(Channel, Sender, Count) end) || Sender <- [1, 2, 3]],
    Arrived = [begin {ok, Message} = py_channel:recv(Out, 30_000), Message end
               || _ <- lists:seq(1, 3 * Count)],
    Expected = [{Sender, N} || Sender <- [1, 2, 3], N <- lists:seq(1, Count)],
    Expected = lists:sort(Arrived),
    [ok = ended(Sender) || Sender <- Senders],
    ok = py_channel:close(Channel),
    [ok = ended(Caller) || Caller <- Callers],
    [{ok, none} = py:await(Ref) || Ref <- [Loops | Threads ++ Tasks]],
    {error, timeout} = py_channel:recv(Out, 0),
    #{messages := 0, waiting_receivers := 0, waiting_senders := 0} = settled(Channel),
    ok.

call_until_closed(Channel, Out) ->
    Timeout = rand:uniform(5),
    case py:call(ct_channel_async, forward, [Channel, Out], #{}, Timeout) of
        {ok, none} -> call_until_closed(Channel, Out);
        {error, timeout} -> call_until_closed(Channel, Out);
        {error, {<<"ChannelClosed">>, _, _}} -> ok
    end.

send_all(Channel, Sender, Count) ->
    [ok = py_channel:send(Channel, {Sender, N}, infinity) || N <- lists:seq(1, Count)],
    ok.

%% ---- What they share -----------------------------------------------------------------

new() ->
    new(#{}).

new(Options) ->
    {ok, Channel} = py_channel:new(Options),
    Channel.

waiting(Channel, Count) ->
    eventually(fun() -> #{waiting_receivers := Now} = py_channel:info(Channel), Now =:= Count end).

settled(Channel) ->
    ok = waiting(Channel, 0),
    py_channel:info(Channel).

kept(Channel) ->
    ok = py_channel:send(Channel, kept),
    {ok, <<"kept">>} = py:call(ct_channel_async, 'receive', [Channel]),
    ok.

ended(Pid) ->
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.
