%% Nothing stays: memory of the node and of Python, reference counts, threads.
%%
%% Each case runs its work once to warm up and compares the state after the next run.
-module(leak_SUITE).

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [
        buffers_never_read,
        buffers_read_and_dropped,
        buffers_of_every_end,
        idle_buffer_is_small,
        calls_of_every_kind,
        failing_calls,
        cancelled_calls,
        messages_both_ways,
        messages_never_received,
        channels_of_every_end,
        waits_for_channels,
        coroutines,
        contexts_leave_no_thread,
        start_and_stop_leave_no_thread,
        six_calls
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 2}]),
    Config.

%% ---- Measuring -----------------------------------------------------------------------

-record(state, {resident, erlang, blocks, references}).

%% Of the node in bytes and of Python in blocks.
state() ->
    {ok, Blocks} = py:call(ct_leaks, blocks, []),
    {ok, References} = py:call(ct_leaks, references, []),
    erlpy_ct:collect(),
    timer:sleep(50),
    #state{
        resident = resident(),
        erlang = erlang:memory(total),
        blocks = Blocks,
        references = References
    }.

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

%% A run after the first may leave what a page or a cache is, not Count times anything.
%% Whatever leaks does so in every run; the allocators' own ups and downs do not.
leaves_nothing(Count, Work) ->
    in_process(Work),
    leaves_nothing(Count, Work, state(), 3).

leaves_nothing(_Count, _Work, _Before, 0) ->
    ct:fail(every_run_left_something);
leaves_nothing(Count, Work, Before, Runs) ->
    in_process(Work),
    After = state(),
    case is_nothing(Count, Before, After) of
        true -> ok;
        false -> leaves_nothing(Count, Work, After, Runs - 1)
    end.

%% Each limit is half of the least that one leak a round would come to, or less.
is_nothing(Count, Before, After) ->
    Resident = After#state.resident - Before#state.resident,
    Erlang = After#state.erlang - Before#state.erlang,
    Blocks = After#state.blocks - Before#state.blocks,
    References = lists:zipwith(fun(A, B) -> abs(A - B) end,
                               After#state.references, Before#state.references),
    ct:pal("~b times: resident ~b, erlang ~b bytes, ~b Python blocks, references ~w",
           [Count, Resident, Erlang, Blocks, References]),
    Some = max(Count div 50, 300),
    Resident < max(Count * 16, 1_000_000) andalso Erlang < max(Count * 4, 400_000) andalso
        lists:all(fun(Change) -> Change < Some end, [Blocks | References]).

in_process(Work) ->
    {_, Monitor} = spawn_monitor(Work),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end.

%% ---- Buffers ---------------------------------------------------------------------------

buffers_never_read(_Config) ->
    Large = binary:copy(<<"x">>, 5000),
    Count = 100_000,
    leaves_nothing(Count, fun() ->
        times(Count, fun(N) ->
            {ok, Buf} = py_buffer:new(),
            ok = py_buffer:write(Buf, <<"small">>),
            N rem 2 =:= 0 andalso py_buffer:write(Buf, Large),
            N rem 3 =:= 0 andalso py_buffer:write(Buf, [Large, "x", [Large]]),
            N rem 5 =:= 0 andalso py_buffer:close(Buf)
        end)
    end).

buffers_read_and_dropped(_Config) ->
    Large = binary:copy(<<"y">>, 5000),
    Count = 100_000,
    leaves_nothing(Count, fun() ->
        times(Count, fun(N) ->
            {ok, Buf} = py_buffer:new(),
            ok = py_buffer:write(Buf, <<"line\nxabcdef">>),
            N rem 2 =:= 0 andalso py_buffer:write(Buf, Large),
            {ok, [<<"line\n">>, <<"xa">>, 0, <<"xab">>, Buf]} = py:call(ct_leaks, use, [Buf])
        end)
    end).

%% Owners, monitors, reasons and writes that wait: each way in which a stream can end.
buffers_of_every_end(_Config) ->
    Large = binary:copy(<<"z">>, 5000),
    Count = 5_000,
    leaves_nothing(Count, fun() ->
        times(Count, fun(N) ->
            {ok, Buf} = py_buffer:new(#{high_watermark => 10, owner => self()}),
            _ = py_buffer:monitor(Buf),
            ok = py_buffer:write(Buf, Large),
            {error, _} = py_buffer:write(Buf, [Large, "x"], N rem 2),
            Writer = spawn(fun() -> py_buffer:write(Buf, Large) end),
            N rem 2 =:= 0 andalso erlang:yield(),
            end_somehow(N rem 5, Buf, Writer)
        end)
    end),
    ok.

end_somehow(0, Buf, _Writer) -> py_buffer:close(Buf);
end_somehow(1, Buf, _Writer) -> py_buffer:abort(Buf, {some, <<"reason">>, [Buf]});
end_somehow(2, _Buf, Writer) -> exit(Writer, kill);
end_somehow(3, Buf, _Writer) -> {ok, none} = py:call(ct_buffers, invoke, [Buf, close]);
end_somehow(4, Buf, Writer) -> exit(Writer, kill), py_buffer:set_owner(Buf, Writer).

idle_buffer_is_small(_Config) ->
    Count = 10_000,
    Make = fun() -> [element(2, py_buffer:new()) || _ <- lists:seq(1, Count)] end,
    First = Make(),
    Before = {resident(), erlang:memory(total)},
    Second = Make(),
    Used = max(resident() - element(1, Before), erlang:memory(total) - element(2, Before)),
    ct:pal("~b bytes each", [Used div Count]),
    true = Used < Count * 1024,
    [ok = py_buffer:close(Buf) || Buf <- First ++ Second],
    ok.

%% ---- Calls -----------------------------------------------------------------------------------

calls_of_every_kind(_Config) ->
    {ok, Context} = py_context:new(),
    Ref = make_ref(),
    Count = 100_000,
    leaves_nothing(Count, fun() ->
        Term = [1, 1.5, <<"text">>, <<255>>, atom, true, none, {1, 2}, #{a => [1]}, self(), Ref, 1 bsl 80],
        times(Count, fun(N) ->
            case N rem 5 of
                0 -> {ok, [Term | _]} = everything_image(py:call(ct_leaks, everything, [Term]), Term);
                1 -> {ok, _} = py:call(Context, ct_leaks, everything, [1, 2, 3], #{key => Term});
                2 -> {ok, 3} = py:eval("a + b", #{a => 1, b => 2});
                3 -> ok = py:exec(Context, "value = [1, 2, 3]");
                4 -> {ok, 4.0} = py:await(py:spawn_call(Context, math, sqrt, [16]))
            end
        end)
    end),
    ok = py_context:destroy(Context).

%% The atom comes back as text.
everything_image({ok, [Image | Rest]}, Term) ->
    Image = [case Item of atom -> <<"atom">>; #{a := V} -> #{<<"a">> => V}; _ -> Item end
             || Item <- Term],
    {ok, [Term | Rest]}.

failing_calls(_Config) ->
    Fun = fun() -> ok end,
    Count = 50_000,
    leaves_nothing(Count, fun() ->
        times(Count, fun(N) ->
            {error, _} =
                case N rem 6 of
                    0 -> py:call(ct_leaks, fail, [[N, <<"text">>]]);
                    1 -> py:call(ct_leaks, everything, [[1, #{a => [Fun]}]]);
                    2 -> py:eval("[1, {2: [object()]}]");
                    3 -> py:call(ct_leaks, no_such_function, [N]);
                    4 -> py:eval("1 +");
                    5 -> py:call(ct_leaks, everything, [#{1 => [], 1.0 => []}])
                end
        end)
    end).

cancelled_calls(_Config) ->
    Count = 20_000,
    leaves_nothing(Count, fun() ->
        {ok, Context} = py_context:new(),
        %% How long the queue grows before it is waited for would show as memory.
        times(Count, fun(N) ->
            _ = py:call(Context, ct_leaks, everything, [[1, 2]], #{}, 0),
            N rem 100 =:= 0 andalso py:eval(Context, "1")
        end),
        ok = py_context:destroy(Context)
    end).

%% ---- Channels --------------------------------------------------------------------------

messages_both_ways(_Config) ->
    Ref = make_ref(),
    Count = 100_000,
    leaves_nothing(Count, fun() ->
        {ok, Channel} = py_channel:new(#{max_size => 1_000_000}),
        Bounce = py:spawn_call(ct_channel, bounce, [Channel]),
        times(Count, fun(N) ->
            Term = message(N rem 8, Ref, Channel),
            ok = py_channel:send(Channel, Term),
            {ok, Term} = py_channel:recv(Channel)
        end),
        ok = py_channel:close(Channel),
        {ok, none} = py:await(Bounce)
    end).

message(0, _Ref, _Channel) -> 5;
message(1, _Ref, _Channel) -> <<"sixty-four">>;
message(2, _Ref, _Channel) -> binary:copy(<<255>>, 1000);
message(3, _Ref, _Channel) -> binary:copy(<<"x">>, 5000);
message(4, Ref, _Channel) -> {1, self(), Ref, [<<"text">>], #{2 => 1.5}};
message(5, _Ref, Channel) -> {Channel, [binary:copy(<<"x">>, 3000)]};
message(6, _Ref, _Channel) -> [1, 2, 3, {<<"a">>, none, true}];
message(7, _Ref, _Channel) -> 1 bsl 80.

messages_never_received(_Config) ->
    Count = 100_000,
    leaves_nothing(Count, fun() ->
        times(Count div 100, fun(_) ->
            {ok, Channel} = py_channel:new(),
            {ok, Buf} = py_buffer:new(#{high_watermark => 10}),
            times(50, fun(N) -> ok = py_channel:send(Channel, {N, message(N rem 8, self(), Buf)}) end),
            {ok, none} = py:call(ct_channel, put_all, [Channel, lists:seq(1, 50)])
        end)
    end).

channels_of_every_end(_Config) ->
    Count = 5_000,
    leaves_nothing(Count, fun() ->
        times(Count, fun(N) ->
            {ok, Channel} = py_channel:new(#{max_size => 10, owner => self(), binaries => view}),
            ok = py_channel:send(Channel, binary:copy(<<"v">>, 3000)),
            {error, timeout} = py_channel:send(Channel, second, N rem 2 + 1),
            Pids = [spawn(fun() -> py_channel:send(Channel, second, infinity) end),
                    spawn(fun() -> py_channel:recv(Channel) end)],
            N rem 2 =:= 0 andalso erlang:yield(),
            end_channel(N rem 4, Channel, Pids)
        end)
    end).

end_channel(0, Channel, _Pids) -> py_channel:close(Channel);
end_channel(1, _Channel, Pids) -> [exit(Pid, kill) || Pid <- Pids];
end_channel(2, Channel, _Pids) -> {ok, _} = py:call(ct_channel, receive_and_close, [Channel]);
end_channel(3, Channel, [Pid | _]) -> exit(Pid, kill), py_channel:set_owner(Channel, Pid).

%% Receives that time out, and calls of Python that do.
waits_for_channels(_Config) ->
    Count = 10_000,
    leaves_nothing(Count, fun() ->
        {ok, Channel} = py_channel:new(),
        times(Count, fun(N) ->
            case N rem 10 of
                0 -> {error, _} = py:call(ct_channel, 'receive', [Channel], #{}, 1);
                1 -> {error, _} = py:call(ct_channel, 'receive', [Channel, 0.0001]);
                2 -> {error, timeout} = py_channel:recv(Channel, 1);
                _ -> {error, timeout} = py_channel:recv(Channel, 0)
            end
        end)
    end).

coroutines(_Config) ->
    Count = 20_000,
    ok = py:register_function(same, fun(X) -> X end),
    leaves_nothing(Count, fun() ->
        times(Count, fun(N) ->
            case N rem 6 of
                0 -> {ok, N} = py:call(ct_async, answer, [N]);
                1 -> {error, _} = py:call(ct_async, failing_awaitable, [<<"text">>]);
                2 -> {error, {not_convertible, _}} = py:call(ct_async, returns_coroutine, []);
                3 -> {ok, N} = py:call(ct_async, call_awaited, [same, N]);
                4 -> _ = py:call(ct_async, answer, [1, 3600], #{}, N div 6 rem 2);
                5 -> _ = py:async_gather([{ct_async, answer, [1]}, {ct_async, raises, [x]}])
            end
        end),
        ok = erlpy_ct:eventually(fun() -> erlpy_ct:info(tasks) =:= 0 end)
    end).

times(0, _Fun) ->
    ok;
times(N, Fun) ->
    _ = Fun(N),
    times(N - 1, Fun).

%% ---- Threads ----------------------------------------------------------------------------------

contexts_leave_no_thread(_Config) ->
    {ok, PythonThreads} = py:call(ct_leaks, threads, []),
    Before = length(erlpy_ct:threads()),
    leaves_nothing(200, fun() ->
        times(200, fun(N) ->
            {ok, Context} = py_context:new(),
            N rem 2 =:= 0 andalso py:exec(Context, "data = list(range(1000))"),
            N rem 3 =:= 0 andalso py:cast(Context, math, sqrt, [16]),
            ok = py_context:destroy(Context)
        end),
        ok = erlpy_ct:eventually(fun() -> length(erlpy_ct:threads()) =< Before end)
    end),
    {ok, PythonThreads} = py:call(ct_leaks, threads, []).

start_and_stop_leave_no_thread(_Config) ->
    Before = length(erlpy_ct:threads()),
    times(20, fun(_) ->
        ok = application:stop(erlpy),
        ok = application:start(erlpy),
        {ok, _} = py:start_contexts(),
        {ok, 1} = py:eval("1")
    end),
    ok = py:stop_contexts(),
    ok = erlpy_ct:eventually(fun() -> length(erlpy_ct:threads()) =< Before end).

six_calls(_Config) ->
    erlpy_ct:still_works().
