%% A process sends, Python receives; against queues that another Python thread feeds.
-module(bench_channel).

-export([rows/1]).

rows(Quick) ->
    Rounds = bench:pick(Quick, 3, 9),
    Count = bench:pick(Quick, 5000, 20000),
    [rate(How, Size, Count, Rounds) || How <- [sync, async], Size <- [64, 1024, 16384]] ++
        lists:append([round_trips(How, Count div 4, Rounds) || How <- [sync, async]]).

%% Bytes that are no UTF-8: they arrive as bytes.
message(Size) ->
    binary:copy(<<255, 0:56>>, Size div 8).

anchor(sync) -> {"SimpleQueue", simple_queue, queue_pingpong};
anchor(async) -> {"asyncio.Queue", asyncio_queue, asyncio_queue_pingpong}.

receiver(sync) -> {receive_all, echo_channel};
receiver(async) -> {async_receive_all, async_echo_channel}.

%% ---- One way -------------------------------------------------------------------------

rate(How, Size, Count, Rounds) ->
    {Name, Anchor, _} = anchor(How),
    Message = message(Size),
    Result = bench:compare(
        Rounds,
        fun() -> Count / send_all(How, Message, Count) end,
        fun() -> Count / bench:python(measure_async, Anchor, [{bytes, Message}, Count]) end
    ),
    bench:row(Result#{
        name => io_lib:format("channel, ~w B a message, ~w / ~s", [Size, How, Name]),
        unit => "/s",
        note => ["Messages a second, of ", Name, " that a Python thread feeds; more is better"]
    }).

%% Seconds from the first send to the last receive.
send_all(How, Message, Count) ->
    {Function, _} = receiver(How),
    {ok, Channel} = py_channel:new(),
    Ref = py:spawn_call(measure_async, Function, [Channel, Count]),
    await_receiver(Channel),
    Ns = bench:timed(fun() ->
        send(Channel, Message, Count),
        {ok, none} = py:await(Ref)
    end),
    ok = py_channel:close(Channel),
    Ns / 1.0e9.

await_receiver(Channel) ->
    case py_channel:info(Channel) of
        #{waiting_receivers := 1} ->
            ok;
        _ ->
            timer:sleep(1),
            await_receiver(Channel)
    end.

send(_Channel, _Message, 0) ->
    ok;
send(Channel, Message, Count) ->
    ok = py_channel:send(Channel, Message),
    send(Channel, Message, Count - 1).

%% ---- There and back --------------------------------------------------------------------

round_trips(How, Count, Rounds) ->
    {Name, _, Anchor} = anchor(How),
    Message = message(64),
    Pairs = [
        {echoes(How, Message, Count),
         bench:python(measure_async, Anchor, [{bytes, Message}, Count])}
     || _ <- lists:seq(1, Rounds)
    ],
    [
        bench:row((bench:compared([{element(N, Ours), element(N, Theirs)}
                                   || {Ours, Theirs} <- Pairs]))#{
            name => io_lib:format("channel, there and back, ~w, ~s / ~s", [How, What, Name]),
            unit => "us",
            note => ["Time of a message and its echo, of two threads with ", Name, "; less is better"]
        })
     || {N, What} <- [{1, "p50"}, {2, "p99"}]
    ].

echoes(How, Message, Count) ->
    {_, Function} = receiver(How),
    {ok, Channel} = py_channel:new(),
    Ref = py:spawn_call(measure_async, Function, [Channel, self()]),
    _ = [echo(Channel, Message) || _ <- lists:seq(1, Count div 10)],
    Times = [echo(Channel, Message) || _ <- lists:seq(1, Count)],
    ok = py_channel:close(Channel),
    {ok, _} = py:await(Ref),
    {bench:median(Times) / 1000, bench:percentile(99, Times) / 1000}.

echo(Channel, Message) ->
    bench:timed(fun() ->
        ok = py_channel:send(Channel, Message),
        receive
            Message -> ok
        end
    end).
