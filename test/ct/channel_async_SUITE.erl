%% Channels that coroutines receive from and send to: on the library's event loops, on loops
%% of Python's own, beside threads.
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
     stopped_while_they_wait, everybody_at_once,
     put_waits_for_a_slow_receiver, put_of_a_loop_of_its_own, put_converts_at_the_call,
     put_of_large_messages, put_of_a_timed_out_call, put_of_a_killed_caller, put_beside_a_close,
     put_and_the_receiver_is_killed, put_and_the_owner_is_killed, put_into_an_abandoned_channel,
     put_while_the_application_stops, put_cancelled_beside_room, puts_of_everybody_at_once].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

end_per_testcase(_Case, Config) ->
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
    ok = py:cast(ct_cancel, run_hold_gil, [self(), 1_000_000]),
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

%% ---- Senders ------------------------------------------------------------------------

put_waits_for_a_slow_receiver(_Config) ->
    Channel = new(#{max_size => 9}),
    Ref = py:spawn_call(ct_channel_async, put_all, [Channel, 200]),
    ok = senders(Channel, 1),
    #{outbox := #{messages := 3, size := 9}} = py_channel:info(Channel),
    [begin
        {ok, N} = py_channel:recv(Channel),
        #{outbox := #{size := Size}} = py_channel:info(Channel),
        true = Size =< 9
     end || N <- lists:seq(0, 199)],
    {ok, none} = py:await(Ref),
    ok = emptied(Channel).

put_of_a_loop_of_its_own(_Config) ->
    Channel = full(),
    Ref = py:spawn_call(ct_channel_async, put_in_a_loop_of_its_own, [Channel, 50]),
    ok = senders(Channel, 1),
    {ok, <<"first">>} = py_channel:recv(Channel),
    [{ok, N} = py_channel:recv(Channel) || N <- lists:seq(0, 49)],
    {ok, none} = py:await(Ref),
    ok = emptied(Channel).

put_converts_at_the_call(_Config) ->
    Channel = new(),
    {ok, none} = py:call(ct_channel_async, put_what_changes, [Channel]),
    {ok, [1]} = py_channel:recv(Channel, 0),
    {ok, [1, 2, 3]} = py_channel:recv(Channel, 0),
    {error, {<<"NotConvertibleError">>, _, _}} =
        py:call(ct_channel_async, put_what_erlang_cannot_take, [Channel]),
    ok = emptied(Channel).

put_of_large_messages(_Config) ->
    Channel = new(#{max_size => 100}),
    Size = 3_000_000,
    Ref = py:spawn_call(ct_channel_async, put_large, [Channel, Size]),
    ok = senders(Channel, 2),
    [begin
        {ok, Message} = py_channel:recv(Channel),
        true = Message =:= binary:copy(<<N>>, Size)
     end || N <- [0, 1, 2]],
    {ok, none} = py:await(Ref),
    ok = emptied(Channel).

%% Nothing of it is ever received, and who waits behind it has its turn.
put_of_a_timed_out_call(_Config) ->
    gives_up(fun(Channel) ->
        {error, timeout} = py:call(ct_channel_async, put, [Channel, lost], #{}, 50)
    end).

put_of_a_killed_caller(_Config) ->
    gives_up(fun(Channel) ->
        Caller = spawn(fun() -> py:call(ct_channel_async, put, [Channel, lost]) end),
        ok = senders(Channel, 1),
        exit(Caller, kill)
    end).

gives_up(GiveUp) ->
    Channel = full(),
    GiveUp(Channel),
    ok = senders(Channel, 0),
    Next = py:spawn_call(ct_channel_async, put, [Channel, next]),
    ok = senders(Channel, 1),
    {ok, <<"first">>} = py_channel:recv(Channel),
    {ok, <<"next">>} = py_channel:recv(Channel),
    {ok, none} = py:await(Next),
    {error, timeout} = py_channel:recv(Channel, 50),
    ok = emptied(Channel).

put_beside_a_close(_Config) ->
    Channel = full(),
    Refs = [py:spawn_call(ct_channel_async, put, [Channel, N]) || N <- lists:seq(1, 20)],
    ok = senders(Channel, 20),
    ok = py_channel:close(Channel),
    [{error, {<<"ChannelClosed">>, <<"the channel is closed">>, _}} = py:await(Ref)
     || Ref <- Refs],
    {ok, <<"first">>} = py_channel:recv(Channel),
    {error, closed} = py_channel:recv(Channel),
    {error, {<<"ChannelClosed">>, _, _}} = py:call(ct_channel_async, put, [Channel, late]),
    ok = emptied(Channel).

%% Which took what it could; the next one goes on where it ended.
put_and_the_receiver_is_killed(_Config) ->
    Self = self(),
    Channel = new(#{max_size => 9}),
    Ref = py:spawn_call(ct_channel_async, put_all, [Channel, 50]),
    Receiver = spawn(fun() ->
        Taken = [begin {ok, N} = py_channel:recv(Channel), N end || _ <- lists:seq(1, 10)],
        Self ! {taken, Taken},
        timer:sleep(infinity)
    end),
    Ten = lists:seq(0, 9),
    receive {taken, Ten} -> ok end,
    ok = senders(Channel, 1),
    exit(Receiver, kill),
    [{ok, N} = py_channel:recv(Channel) || N <- lists:seq(10, 49)],
    {ok, none} = py:await(Ref),
    ok = emptied(Channel).

put_and_the_owner_is_killed(_Config) ->
    Owner = spawn(fun() -> timer:sleep(infinity) end),
    Channel = full(#{owner => Owner}),
    Ref = py:spawn_call(ct_channel_async, put, [Channel, lost]),
    ok = senders(Channel, 1),
    exit(Owner, kill),
    {error, {<<"ChannelClosed">>, _, _}} = py:await(Ref),
    {ok, <<"first">>} = py_channel:recv(Channel),
    {error, closed} = py_channel:recv(Channel).

put_into_an_abandoned_channel(_Config) ->
    Self = self(),
    spawn(fun() ->
        Channel = full(),
        ok = py:cast(ct_channel_async, put_and_tell, [Self, Channel, lost]),
        ok = senders(Channel, 1)
    end),
    receive <<"closed">> -> ok end.

put_while_the_application_stops(Config) ->
    Channel = full(),
    Refs = [py:spawn_call(ct_channel_async, put, [Channel, N]) || N <- lists:seq(1, 20)],
    ok = senders(Channel, 20),
    ok = application:stop(erlpy),
    [{error, stopped} = py:await(Ref) || Ref <- Refs],
    ok = senders(Channel, 0),
    {ok, <<"first">>} = py_channel:recv(Channel),
    {error, timeout} = py_channel:recv(Channel, 0),
    ok = erlpy_ct:start(Config),
    {ok, none} = py:call(ct_channel_async, put, [Channel, again]),
    {ok, <<"again">>} = py_channel:recv(Channel).

%% Whichever comes first: it is sent once or never, and the next one is let in.
put_cancelled_beside_room(_Config) ->
    [begin
        Channel = full(),
        Caller = spawn(fun() -> py:call(ct_channel_async, put, [Channel, 1]) end),
        ok = senders(Channel, 1),
        Next = py:spawn_call(ct_channel_async, put, [Channel, 2]),
        ok = senders(Channel, 2),
        Killer = spawn(fun() ->
            erlpy_ct:busy_wait(Turn rem 50 * 10),
            exit(Caller, kill)
        end),
        {ok, <<"first">>} = py_channel:recv(Channel),
        ok = ended(Killer),
        case py_channel:recv(Channel) of
            {ok, 1} -> {ok, 2} = py_channel:recv(Channel);
            {ok, 2} -> ok
        end,
        {ok, none} = py:await(Next),
        {error, timeout} = py_channel:recv(Channel, 0),
        ok = emptied(Channel)
     end || Turn <- lists:seq(1, 200)].

%% Tasks of the library's loop and of others that are cancelled, calls whose time is up,
%% threads; several processes receive.  What was put arrives once, in the order of its
%% sender; what was cancelled, once or never.
puts_of_everybody_at_once(_Config) ->
    Channel = new(#{max_size => 60}),
    Count = 400,
    Patient = py:spawn_call(ct_channel_async, put_all, [Channel, Count]),
    Tasks = [{Sender, py:spawn_call(ct_channel_async, put_with_cancels,
                                    [Channel, Sender, Count])} || Sender <- [1, 2]],
    Threads = py:spawn_call(ct_channel_async, put_with_cancels_in_threads,
                            [Channel, [3, 4, 5], Count]),
    Receivers = [spawn_receiver(Channel) || _ <- [1, 2, 3]],
    Called = call_all(Channel, 6, Count),
    {ok, none} = py:await(Patient),
    {ok, InThreads} = py:await(Threads),
    Sent = [{Sender, N} || {Sender, Ns} <- maps:to_list(InThreads), N <- Ns] ++
        [{Sender, N} || {Sender, Ref} <- Tasks, {ok, Ns} <- [py:await(Ref)], N <- Ns] ++
        lists:seq(0, Count - 1) ++ [{6, N} || N <- Called],
    ok = senders(Channel, 0),
    ok = py_channel:close(Channel),
    Each = [receive {Receiver, Messages} -> Messages end || Receiver <- Receivers],
    Arrived = lists:append(Each),
    [] = Sent -- Arrived,
    true = length(Arrived) =:= length(lists:usort(Arrived)),
    [true = in_order(Sender, Messages) || Messages <- Each, Sender <- lists:seq(1, 6)],
    ok = emptied(Channel).

call_all(Channel, Sender, Count) ->
    [N || N <- lists:seq(1, Count),
          {ok, none} =:= py:call(ct_channel_async, put, [Channel, {Sender, N}], #{},
                                 rand:uniform(5))].

spawn_receiver(Channel) ->
    Self = self(),
    spawn_link(fun() -> Self ! {self(), receive_all(Channel, [])} end).

receive_all(Channel, Messages) ->
    case py_channel:recv(Channel) of
        {ok, Message} -> receive_all(Channel, [Message | Messages]);
        {error, closed} -> lists:reverse(Messages)
    end.

in_order(Sender, Messages) ->
    Numbers = [N || {From, N} <- Messages, From =:= Sender],
    Numbers =:= lists:sort(Numbers).

%% ---- What they share -----------------------------------------------------------------

new() ->
    new(#{}).

new(Options) ->
    {ok, Channel} = py_channel:new(Options),
    Channel.

%% There is no room for anything after its first message.
full() ->
    full(#{}).

full(Options) ->
    Channel = new(Options#{max_size => 1}),
    {ok, none} = py:call(ct_channel_async, put, [Channel, first]),
    Channel.

senders(Channel, Count) ->
    eventually(fun() ->
        #{outbox := #{waiting_senders := Now}} = py_channel:info(Channel),
        Now =:= Count
    end).

emptied(Channel) ->
    #{outbox := Outbox} = py_channel:info(Channel),
    #{messages := 0, size := 0, waiting_senders := 0, waiting_receivers := 0} = Outbox,
    ok.

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
