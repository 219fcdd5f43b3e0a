%% PyBuffer.settimeout in the node, with an Erlang process as the writer: stalled,
%% trickling, and of a call that is cancelled meanwhile.
-module(timeout_SUITE).

-compile([export_all, nowarn_export_all]).

-import(erlpy_ct, [told/1]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        every_method_times_out,
        zero_does_not_wait,
        one_deadline_for_a_trickle,
        data_before_the_deadline,
        belongs_to_the_object,
        abort_before_the_deadline,
        cancel_before_the_deadline,
        cancel_of_a_waiting_writer,
        many_at_once
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    Config.

end_per_testcase(_Case, Config) ->
    erlpy_ct:left_clean(Config).

%% ---- Helpers ---------------------------------------------------------------------------

new() ->
    {ok, Buf} = py_buffer:new(),
    Buf.

timed_out(Buf, Seconds, [Method | Args]) ->
    {ok, Answer} = py:call(ct_timeouts, timed_out, [Buf, Seconds, Method | Args]),
    Answer.

methods_that_wait_for_a_byte() ->
    [[read, 5], [read1, 5], [readinto, 5], [peek, 3], [readview], [views]].

methods_that_wait_for_more() ->
    [
        [read], [readall], [readline], [next], [readlines], [readlines, 50], [readexactly, 10],
        [readuntil, {bytes, <<"!">>}], [readview_exactly, 10]
    ].

%% ---- Cases -----------------------------------------------------------------------------

every_method_times_out(_Config) ->
    Some = new(),
    ok = py_buffer:write(Some, <<"abc">>),
    Cases =
        [{new(), Method} || Method <- methods_that_wait_for_a_byte()] ++
        [{Some, Method} || Method <- methods_that_wait_for_more()],
    [
        begin
            {Method, {Took, 0, 0.05}} = {Method, timed_out(Buf, 0.05, Method)},
            true = Took >= 50 andalso Took < 2000,
            #{waiting_readers := 0} = py_buffer:info(Buf)
        end
     || {Buf, Method} <- Cases
    ],
    ok = py_buffer:close(Some),
    {ok, <<"abc">>} = py:call(ct_buffers, invoke, [Some, read]).

zero_does_not_wait(_Config) ->
    Buf = new(),
    [
        {_, 0, +0.0} = timed_out(Buf, 0, Method)
     || Method <- methods_that_wait_for_a_byte() ++ methods_that_wait_for_more()
    ],
    ok = py_buffer:write(Buf, <<"there">>),
    <<"no timeout">> = timed_out(Buf, 0, [read, 5]).

one_deadline_for_a_trickle(_Config) ->
    Buf = new(),
    Writer = spawn_link(fun() -> drip(Buf) end),
    {Took, 0, 0.3} = timed_out(Buf, 0.3, [readline]),
    true = Took >= 300 andalso Took < 3000,
    unlink(Writer),
    exit(Writer, kill).

drip(Buf) ->
    ok = py_buffer:write(Buf, <<".">>),
    timer:sleep(5),
    drip(Buf).

data_before_the_deadline(_Config) ->
    Buf = new(),
    Ref = py:spawn_call(ct_timeouts, timed_out, [Buf, 30, readexactly, 6]),
    await_readers(Buf, 1),
    ok = py_buffer:write(Buf, <<"abc">>),
    ok = py_buffer:write(Buf, <<"def">>),
    {ok, <<"no timeout">>} = py:await(Ref, 5000).

await_readers(Buf, Count) ->
    ok = erlpy_ct:eventually(fun() ->
        maps:get(waiting_readers, py_buffer:info(Buf)) =:= Count
    end).

belongs_to_the_object(_Config) ->
    Buf = new(),
    Ref = py:spawn_call(ct_timeouts, two_of_one_stream, [Buf, Buf]),
    await_readers(Buf, 1),
    ok = py_buffer:write(Buf, <<"data">>),
    {ok, {none, <<"data">>}} = py:await(Ref, 5000).

abort_before_the_deadline(_Config) ->
    Buf = new(),
    Ref = py:spawn_call(ct_timeouts, patient_read, [self(), Buf, 30]),
    _ = told(running),
    await_readers(Buf, 1),
    ok = py_buffer:abort(Buf, gone),
    <<"BufferAborted">> = told(ended),
    {error, {<<"BufferAborted">>, <<"the stream was aborted: gone">>, _}} =
        py:await(Ref, 5000).

cancel_before_the_deadline(_Config) ->
    Buf = new(),
    {error, timeout} = py:call(ct_timeouts, patient_read, [self(), Buf, 30], #{}, 500),
    _ = told(running),
    <<"Cancelled">> = told(ended),
    ok = py_buffer:write(Buf, <<"next">>),
    ok = py_buffer:close(Buf),
    {ok, <<"next">>} = py:call(ct_buffers, invoke, [Buf, read]).

%% erlang.testing.Writer, inside the node: its wait is one like any other.
cancel_of_a_waiting_writer(_Config) ->
    {error, timeout} = py:call(ct_timeouts, write_too_much, [self()], #{}, 500),
    _ = told(running),
    {<<"Cancelled">>, 4, 0} = told(ended).

many_at_once(_Config) ->
    Buf = new(),
    Refs = [
        py:spawn_call(ct_timeouts, timed_out, [Buf, 0.2 + N / 1000, read])
     || N <- lists:seq(1, 50)
    ],
    [{ok, {_, 0, _}} = py:await(Ref, 20000) || Ref <- Refs],
    #{waiting_readers := 0, read := 0} = py_buffer:info(Buf).
