%% Channels: messages between Erlang and Python, both ways.
-module(channel_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [job/1, result/1, told/1]).
-import(erlpy_channels, [
    new/0, new/1, full/0, call/2, later/2, await/1, info/3, waiting/4,
    no_answer/1, start_waiting/3, start_receiving/2
]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [{group, making}, {group, sending}, {group, receiving}, {group, many}, {group, closing}, six_calls].

groups() ->
    [
        {making, [], [options_in_every_form, bad_options, bad_arguments, other_resources,
                      channel_of_another_node, info_tells_all]},
        {sending, [], [busy_takes_nothing, waits_for_room, waits_for_room_with_a_large_term,
                       hundred_senders_in_order, nobody_overtakes, timeout_sends_nothing,
                       random_timeouts, python_waits_for_room]},
        {receiving, [], [takes_at_once, waits_for_a_message, timeout_takes_nothing,
                         waits_no_longer_than_said, deep_mailbox, large_messages,
                         large_in_a_deep_mailbox, random_receive_timeouts]},
        {many, [], [many_senders_many_receivers, many_processes_receive,
                    threads_of_python_receive, bounce_in_order, million_messages]},
        {closing, [], [close_is_idempotent, what_is_queued_can_be_received,
                       close_answers_those_who_wait, python_closes, close_beside_sends]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

%% Every case, whatever it did, leaves a runtime that answers and an empty mailbox.
end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% ---- Making --------------------------------------------------------------------------

options_in_every_form(_Config) ->
    #{max_size := infinity} = py_channel:info(new()),
    #{max_size := infinity} = py_channel:info(new(#{max_size => infinity})),
    #{max_size := 1} = py_channel:info(new(#{max_size => 1})),
    #{max_size := 16#7FFFFFFFFFFFFFFF} = py_channel:info(new(#{max_size => 16#7FFFFFFFFFFFFFFF})),
    [_ = new(Options) || Options <- [
        #{binaries => copy}, #{binaries => view}, #{owner => self()}, #{owner => none},
        #{binaries => view, owner => self(), max_size => 100}
    ]],
    ok.

bad_options(_Config) ->
    Elsewhere = binary_to_term(<<131, 88, 119, 5, "there", 0:32/integer, 0:32, 0:32>>),
    Bad = [
        #{max_size => 0}, #{max_size => -1}, #{max_size => 1.0}, #{max_size => 1 bsl 63},
        #{max_size => undefined}, #{binaries => true}, #{binaries => adopt}, #{owner => x},
        #{owner => make_ref()}, #{owner => Elsewhere}, #{maxsize => 5}, [], [{max_size, 5}], 5
    ],
    [erlpy_ct:badarg(py_channel, new, [Options], 1) || Options <- Bad],
    ok.

bad_arguments(_Config) ->
    Channel = new(),
    [erlpy_ct:badarg(py_channel, send, [Channel, x, Timeout], 3)
     || Timeout <- [-1, 1.0, never, 1 bsl 32]],
    [erlpy_ct:badarg(py_channel, recv, [Channel, Timeout], 2)
     || Timeout <- [-1, 1.0, never, 1 bsl 32]],
    [begin
         "not a channel" = erlpy_ct:badarg(py_channel, Function, [Wrong | Args], 1)
     end || {Function, Args} <- with_a_channel(), Wrong <- [x, self(), make_ref(), 5, <<"x">>]],
    erlpy_ct:badarg(py_channel, set_owner, [Channel, x], 2),
    Elsewhere = binary_to_term(<<131, 88, 119, 5, "there", 0:32/integer, 0:32, 0:32>>),
    "a process of another node" = erlpy_ct:badarg(py_channel, set_owner, [Channel, Elsewhere], 2),
    #{messages := 0} = py_channel:info(Channel).

%% What has a channel as its first argument, with the others.
with_a_channel() ->
    [{send, [x]}, {send, [x, 0]}, {send, [x, 5]}, {recv, []}, {recv, [0]}, {recv, [5]},
     {close, []}, {set_owner, [self()]}, {info, []}].

other_resources(_Config) ->
    {ok, Buf} = py_buffer:new(),
    {ok, Context} = py_context:new(),
    [erlpy_ct:badarg(py_channel, Function, [Wrong | Args], 1)
     || {Function, Args} <- with_a_channel(), Wrong <- [Buf, Context]],
    Channel = new(),
    erlpy_ct:badarg(py_buffer, write, [Channel, <<"x">>], 1),
    erlpy_ct:badarg(py_buffer, info, [Channel], 1),
    _ = erlpy_ct:badarg(py_context, destroy, [Channel], 1),
    ok = py_context:destroy(Context).

channel_of_another_node(_Config) ->
    Elsewhere = binary_to_term(
        <<131, 90, 3:16, 119, 5, "there", 1:32, 1:32, 2:32, 3:32>>),
    ["channel of another node: only processes of there can use it" =
         erlpy_ct:badarg(py_channel, Function, [Elsewhere | Args], 1)
     || {Function, Args} <- with_a_channel()],
    ok.

info_tells_all(_Config) ->
    Channel = new(#{max_size => 100}),
    Nothing = #{size => 0, messages => 0, waiting_senders => 0, waiting_receivers => 0},
    Before = py_channel:info(Channel),
    true = Before =:= Nothing#{outbox => Nothing, max_size => 100, closed => false},
    ok = py_channel:send(Channel, binary:copy(<<"x">>, 90)),
    ok = py_channel:send(Channel, 1),
    99 = info(Channel, inbox, size),
    2 = info(Channel, inbox, messages),
    Sender = start_waiting(Channel, last, 1),
    none = call(put, [Channel, abc]),
    1 = info(Channel, outbox, messages),
    9 = info(Channel, outbox, size),
    {ok, <<"abc">>} = py_channel:recv(Channel),
    Receiver = start_receiving(Channel, 1),
    ok = py_channel:close(Channel),
    #{closed := true, messages := 2, waiting_senders := 0} = py_channel:info(Channel),
    {error, closed} = result(Sender),
    {error, closed} = result(Receiver),
    ok.

%% ---- Sending ---------------------------------------------------------------------------

busy_takes_nothing(_Config) ->
    Channel = full(),
    [busy = py_channel:send(Channel, Term) || Term <- [x, lists:seq(1, 20_000), fun() -> x end]],
    [busy = py_channel:send(Channel, Term, 0) || Term <- [x, lists:seq(1, 20_000)]],
    #{messages := 1, waiting_senders := 0} = py_channel:info(Channel),
    <<"first">> = call('receive', [Channel]),
    ok = py_channel:send(Channel, x).

waits_for_room(_Config) ->
    Channel = full(),
    Sender = start_waiting(Channel, second, 1),
    no_answer(Sender),
    <<"first">> = call('receive', [Channel]),
    ok = result(Sender),
    <<"second">> = call('receive', [Channel]).

waits_for_room_with_a_large_term(_Config) ->
    Channel = full(),
    Large = lists:seq(1, 30_000),
    Sender = start_waiting(Channel, Large, 1),
    <<"first">> = call('receive', [Channel]),
    ok = result(Sender),
    Large = call('receive', [Channel]).

hundred_senders_in_order(_Config) ->
    Channel = full(),
    Senders = [start_waiting(Channel, N, N) || N <- lists:seq(1, 100)],
    Numbers = lists:seq(1, 100),
    [<<"first">> | Numbers] = call(receive_some, [Channel, 101]),
    [ok = result(Sender) || Sender <- Senders],
    ok.

%% There is room for the second, but not for the first.
nobody_overtakes(_Config) ->
    Channel = new(#{max_size => 20}),
    ok = py_channel:send(Channel, <<"12345">>),
    Large = binary:copy(<<"x">>, 15),
    First = start_waiting(Channel, Large, 1),
    busy = py_channel:send(Channel, 1),
    Second = start_waiting(Channel, 1, 2),
    no_answer(First),
    no_answer(Second),
    [<<"12345">>, Large, 1] = call(receive_some, [Channel, 3]),
    ok = result(First),
    ok = result(Second).

timeout_sends_nothing(_Config) ->
    Channel = full(),
    {Took, {error, timeout}} = erlpy_ct:timed(fun() -> py_channel:send(Channel, x, 100) end),
    true = Took >= 99 andalso Took < 5000,
    Sender = start_waiting(Channel, second, 1),
    {error, timeout} = py_channel:send(Channel, x, 1),
    [<<"first">>, <<"second">>] = call(receive_some, [Channel, 2]),
    ok = result(Sender),
    #{messages := 0, waiting_senders := 0} = py_channel:info(Channel).

%% What was answered ok arrives, what was answered timeout does not.
random_timeouts(_Config) ->
    Channel = new(#{max_size => 8}),
    Receiver = later(receive_all, [Channel]),
    Senders = [job(fun() ->
                   [{Sender, N} || N <- lists:seq(1, 50),
                                   ok =:= py_channel:send(Channel, {Sender, N}, rand:uniform(3))]
               end) || Sender <- lists:seq(1, 20)],
    Sent = [result(Sender) || Sender <- Senders],
    ok = py_channel:close(Channel),
    Received = await(Receiver),
    true = lists:sort(Received) =:= lists:sort(lists:append(Sent)),
    [true = OfOne =:= [Message || {From, _} = Message <- Received, From =:= Sender]
     || {Sender, OfOne} <- lists:zip(lists:seq(1, 20), Sent)],
    ok.

python_waits_for_room(_Config) ->
    Channel = new(#{max_size => 10}),
    Call = later(put_numbers, [Channel, 1, 2000]),
    ok = waiting(Channel, outbox, waiting_senders, 1),
    [{ok, N} = py_channel:recv(Channel, 5000) || N <- lists:seq(1, 2000)],
    none = await(Call),
    {error, timeout} = py_channel:recv(Channel, 0).

%% ---- Receiving -------------------------------------------------------------------------

takes_at_once(_Config) ->
    Channel = new(),
    {error, timeout} = py_channel:recv(Channel, 0),
    none = call(put_all, [Channel, [1, 2, 3, 4]]),
    {ok, 1} = py_channel:recv(Channel),
    {ok, 2} = py_channel:recv(Channel, 0),
    {ok, 3} = py_channel:recv(Channel, 1000),
    {ok, 4} = py_channel:recv(Channel, infinity),
    {error, timeout} = py_channel:recv(Channel, 0).

waits_for_a_message(_Config) ->
    Channel = new(),
    [begin
         Receiver = start_receiving(Channel, 1),
         none = call(put, [Channel, Term]),
         {ok, Term} = result(Receiver)
     end || Term <- [1, <<"text">>, lists:seq(1, 30_000)]],
    #{outbox := #{waiting_receivers := 0, messages := 0}} = py_channel:info(Channel).

timeout_takes_nothing(_Config) ->
    Channel = new(),
    {error, timeout} = py_channel:recv(Channel, 20),
    none = call(put, [Channel, 1]),
    {messages, []} = process_info(self(), messages),
    {ok, 1} = py_channel:recv(Channel, 0),
    <<"TimeoutError">> = call(raises, [Channel, 'receive', 0.01]),
    ok = py_channel:send(Channel, 2),
    2 = call('receive', [Channel]).

%% Also when it was told in vain in between.
waits_no_longer_than_said(_Config) ->
    Channel = new(),
    Receiver = job(fun() -> erlpy_ct:timed(fun() -> py_channel:recv(Channel, 500) end) end),
    ok = waiting(Channel, outbox, waiting_receivers, 1),
    {Pid, _} = Receiver,
    [begin
         true = erlang:suspend_process(Pid),
         none = call(put, [Channel, N]),
         {ok, N} = py_channel:recv(Channel, 0),
         true = erlang:resume_process(Pid),
         ok = waiting(Channel, outbox, waiting_receivers, 1)
     end || N <- [1, 2]],
    {Took, {error, timeout}} = result(Receiver),
    true = Took >= 499 andalso Took < 2000.

%% The mailbox is not searched: looking at a message costs a reduction.
deep_mailbox(_Config) ->
    Channel = full(),
    Out = new(),
    Job = spawn_link(fun() ->
        Test = receive {test, From} -> From end,
        {reductions, Before} = process_info(self(), reductions),
        [begin
             {error, timeout} = py_channel:recv(Out, 1),
             {error, timeout} = py_channel:send(Channel, x, 1)
         end || _ <- lists:seq(1, 20)],
        {reductions, After} = process_info(self(), reductions),
        {message_queue_len, Left} = process_info(self(), message_queue_len),
        Test ! {self(), After - Before, Left}
    end),
    [Job ! N || N <- lists:seq(1, 1_000_000)],
    Job ! {test, self()},
    receive
        {Job, Reductions, Left} ->
            1_000_000 = Left,
            ct:pal("~b reductions", [Reductions]),
            true = Reductions < 5_000_000
    after 30_000 -> ct:fail(no_answer)
    end.

large_messages(_Config) ->
    Channel = new(),
    Larges = [lists:seq(1, 50_000), maps:from_list([{N, <<"v">>} || N <- lists:seq(1, 20_000)]),
              [binary:copy(<<"b">>, 100_000) || _ <- lists:seq(1, 50)],
              lists:foldl(fun(_, Term) -> [Term] end, 1, lists:seq(1, 900))],
    none = call(put_all, [Channel, Larges]),
    [{ok, Large} = py_channel:recv(Channel) || Large <- Larges],
    {error, timeout} = py_channel:recv(Channel, 0).

large_in_a_deep_mailbox(_Config) ->
    Channel = new(),
    Large = lists:seq(1, 20_000),
    Rounds = 50,
    Job = job(fun() ->
        receive go -> ok end,
        [{ok, Large} = py_channel:recv(Channel) || _ <- lists:seq(1, Rounds)],
        flush(500_000)
    end),
    {Pid, _} = Job,
    [Pid ! N || N <- lists:seq(1, 500_000)],
    Pid ! go,
    none = call(put_all, [Channel, lists:duplicate(Rounds, Large)]),
    ok = result(Job).

flush(0) -> ok;
flush(N) -> receive M when is_integer(M) -> flush(N - 1) end.

%% Nothing is lost, nothing comes twice, nothing stray.
random_receive_timeouts(_Config) ->
    Channel = new(),
    Receivers = [job(fun() -> receive_with_timeouts(Channel, []) end) || _ <- lists:seq(1, 20)],
    Putters = [later(put_slowly, [Channel, 100, Tag]) || Tag <- [1, 2, 3, 4]],
    [none = await(Putter) || Putter <- Putters],
    ok = py_channel:close(Channel),
    Received = lists:append([result(Receiver) || Receiver <- Receivers]),
    true = lists:sort(Received) =:= [{Tag, N} || Tag <- [1, 2, 3, 4], N <- lists:seq(1, 100)].

receive_with_timeouts(Channel, Received) ->
    case py_channel:recv(Channel, rand:uniform(4) - 1) of
        {ok, Term} -> receive_with_timeouts(Channel, [Term | Received]);
        {error, timeout} -> receive_with_timeouts(Channel, Received);
        {error, closed} -> Received
    end.

%% ---- Many ------------------------------------------------------------------------------

many_senders_many_receivers(_Config) ->
    Channel = new(#{max_size => 1000}),
    Receivers = [later(receive_all, [Channel]) || _ <- lists:seq(1, 8)],
    Senders = [job(fun() ->
                   [ok = py_channel:send(Channel, {S, N}, infinity) || N <- lists:seq(1, 500)]
               end) || S <- lists:seq(1, 8)],
    _ = [result(Sender) || Sender <- Senders],
    ok = py_channel:close(Channel),
    Received = [await(Receiver) || Receiver <- Receivers],
    true = lists:sort(lists:append(Received)) =:=
        [{S, N} || S <- lists:seq(1, 8), N <- lists:seq(1, 500)],
    %% Each receiver has those of one sender in their order.
    [true = lists:sort(OfOne) =:= OfOne
     || Messages <- Received, S <- lists:seq(1, 8),
        OfOne <- [[N || {From, N} <- Messages, From =:= S]]],
    ok.

many_processes_receive(_Config) ->
    Channel = new(#{max_size => 100}),
    Receivers = [job(fun() -> receive_all(Channel, []) end) || _ <- lists:seq(1, 50)],
    Putters = [later(put_numbers, [Channel, 1, 500, Tag]) || Tag <- [1, 2, 3]],
    [none = await(Putter) || Putter <- Putters],
    ok = py_channel:close(Channel),
    Received = [result(Receiver) || Receiver <- Receivers],
    true = lists:sort(lists:append(Received)) =:=
        [{Tag, N} || Tag <- [1, 2, 3], N <- lists:seq(1, 500)],
    [true = lists:sort(OfOne) =:= OfOne
     || Messages <- Received, Tag <- [1, 2, 3],
        OfOne <- [[N || {From, N} <- Messages, From =:= Tag]]],
    ok.

receive_all(Channel, Received) ->
    case py_channel:recv(Channel) of
        {ok, Term} -> receive_all(Channel, [Term | Received]);
        {error, closed} -> lists:reverse(Received)
    end.

threads_of_python_receive(_Config) ->
    Channel = new(),
    [none = call(receive_from_a_thread, [Channel, self()]) || _ <- [1, 2, 3]],
    [ok = py_channel:send(Channel, N) || N <- [1, 2, 3]],
    [1, 2, 3] = lists:sort([told(received) || _ <- [1, 2, 3]]),
    ok.

bounce_in_order(_Config) ->
    Channel = new(#{max_size => 100}),
    Bounce = later(bounce, [Channel]),
    Numbers = lists:seq(1, 2000),
    Sender = job(fun() -> [ok = py_channel:send(Channel, N, infinity) || N <- Numbers] end),
    Numbers = [begin {ok, Back} = py_channel:recv(Channel, 5000), Back end || _ <- Numbers],
    _ = result(Sender),
    ok = py_channel:close(Channel),
    none = await(Bounce).

million_messages(_Config) ->
    Channel = new(#{max_size => 1_000_000}),
    Counter = later(count_all, [Channel]),
    [ok = py_channel:send(Channel, {N, <<"some text">>}, infinity)
     || N <- lists:seq(1, 1_000_000)],
    ok = py_channel:close(Channel),
    1_000_000 = await(Counter).

%% ---- Closing ---------------------------------------------------------------------------

close_is_idempotent(_Config) ->
    Channel = new(),
    [ok = py_channel:close(Channel) || _ <- [1, 2, 3]],
    {error, closed} = py_channel:send(Channel, x),
    {error, closed} = py_channel:send(Channel, x, 10),
    {error, closed} = py_channel:send(Channel, lists:seq(1, 20_000), infinity),
    {error, closed} = py_channel:recv(Channel),
    {error, closed} = py_channel:recv(Channel, 0),
    <<"ChannelClosed">> = call(raises, [Channel, 'receive']),
    <<"ChannelClosed">> = call(raises, [Channel, try_receive]),
    <<"ChannelClosed">> = call(raises, [Channel, put, 1]),
    [] = call(receive_all, [Channel]).

what_is_queued_can_be_received(_Config) ->
    Channel = new(),
    [ok = py_channel:send(Channel, N) || N <- [1, 2, 3]],
    none = call(put_all, [Channel, [4, 5]]),
    ok = py_channel:close(Channel),
    1 = call('receive', [Channel]),
    [2, 3] = call(receive_all, [Channel]),
    {ok, 4} = py_channel:recv(Channel),
    {ok, 5} = py_channel:recv(Channel),
    {error, closed} = py_channel:recv(Channel).

close_answers_those_who_wait(_Config) ->
    Channel = full(),
    none = call(put, [Channel, <<"first">>]),
    Senders = [start_waiting(Channel, N, N) || N <- [1, 2, 3]],
    Putters = [later(told_put, [Channel, self(), N]) || N <- [1, 2]],
    ok = waiting(Channel, outbox, waiting_senders, 2),
    Idle = new(),
    Receivers = [start_receiving(Idle, N) || N <- [1, 2, 3]],
    Pythons = [later(receive_all, [Idle]) || _ <- [1, 2]],
    ok = waiting(Idle, inbox, waiting_receivers, 2),
    ok = py_channel:close(Channel),
    ok = py_channel:close(Idle),
    [{error, closed} = result(Sender) || Sender <- Senders],
    [{error, closed} = result(Receiver) || Receiver <- Receivers],
    [{error, {<<"ChannelClosed">>, _, _}} = py:await(Putter, 5000) || Putter <- Putters],
    [[] = await(Python) || Python <- Pythons],
    [_ = told(waiting) || _ <- Putters],
    [<<"ChannelClosed">> = told(ended) || _ <- Putters],
    [<<"first">>] = call(receive_all, [Channel]),
    ok.

python_closes(_Config) ->
    Channel = full(),
    Sender = start_waiting(Channel, second, 1),
    Receiver = start_receiving(Channel, 1),
    none = call(invoke, [Channel, close]),
    {error, closed} = result(Sender),
    {error, closed} = result(Receiver),
    #{closed := true, messages := 1} = py_channel:info(Channel),
    {ok, true} = py:eval("c.closed", #{c => Channel}).

%% Whatever was answered ok is received.
close_beside_sends(_Config) ->
    [begin
         Channel = new(#{max_size => 20 + rand:uniform(500)}),
         Receiver = later(receive_all, [Channel]),
         Senders = [job(fun() -> send_until_closed(Channel, S, 1) end) || S <- [1, 2, 3, 4]],
         erlpy_ct:busy_wait(rand:uniform(2000)),
         ok = py_channel:close(Channel),
         Sent = lists:append([[{S, N} || N <- lists:seq(1, result(Sender))]
                              || {S, Sender} <- lists:zip([1, 2, 3, 4], Senders)]),
         true = lists:sort(await(Receiver)) =:= Sent
     end || _ <- lists:seq(1, 50)],
    ok.

send_until_closed(Channel, S, N) ->
    case py_channel:send(Channel, {S, N}, infinity) of
        ok -> send_until_closed(Channel, S, N + 1);
        {error, closed} -> N - 1
    end.

six_calls(_Config) ->
    erlpy_ct:still_works().
