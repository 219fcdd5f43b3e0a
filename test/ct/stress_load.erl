%% The load of the stress suite and of `make soak': drivers that choose operations at
%% random.
%%
%% A driver is a process with a seed of its own; all that it does follows from the seed:
%% which operation, on which of the shared buffers, channels, contexts, callers and writers, and
%% with what.  (What comes of it depends on the others.)  Every operation ends by itself;
%% one that does not is found by overdue/2.  Each writes a multiple of eight bytes of one
%% pattern, so that Python can tell whether what it reads is what was written.
-module(stress_load).

-export([start/2, drive/4, finish/1, overdue/2, counts/1, failures/1, register_functions/0]).

-define(BUFFERS, 24).
-define(CHANNELS, 12).
-define(CONTEXTS, 3).
-define(CALLERS, 16).
-define(WRITERS, 12).
-define(PATTERN, <<"abcdefg\n">>).

%% ---- Life --------------------------------------------------------------------------

%% The state that all drivers share: a table.  Options: `restarts', one operation in so
%% many stops and starts the application (0: none).
start(Seed, Options) ->
    Table = ets:new(stress, [public, {write_concurrency, true}]),
    true = ets:insert(Table, [{seed, Seed}, {options, Options}, {failures, []}]),
    ok = register_functions(),
    %% A cancel in the middle of an import would leave others that wait for it half a module.
    {ok, none} = py:eval("__import__('ct_stress') and None"),
    Table.

register_functions() ->
    case py:register_function(stress_chain, fun chain/1) of
        ok -> ok;
        {error, _} -> ok
    end.

chain(0) ->
    0;
chain(Depth) ->
    case py:call(ct_stress, chain, [Depth - 1]) of
        {ok, Deeper} -> Deeper + 1;
        {error, _} -> -1000
    end.

%% Runs so many operations, with a pause of so many milliseconds after each hundredth.
drive(Table, Id, Count, Pause) ->
    [{seed, Seed}] = ets:lookup(Table, seed),
    _ = rand:seed(exsss, {Seed, Id, 0}),
    Weighted = lists:append([lists:duplicate(Weight, Op) || {Op, Weight} <- operations()]),
    steps(Table, Id, list_to_tuple(Weighted), 1, Count, Pause).

steps(_Table, _Id, _Operations, N, Count, _Pause) when N > Count ->
    ok;
steps(Table, Id, Operations, N, Count, Pause) ->
    Op = step_operation(Table, Operations),
    true = ets:insert(Table, {{at, Id}, Op, N, self(), now_ms()}),
    try
        operation(Op, Table)
    catch
        Class:Reason:Stack -> failed(Table, {Id, N, Op, Class, Reason, Stack})
    end,
    _ = ets:update_counter(Table, {count, Op}, 1, {{count, Op}, 0}),
    true = ets:delete(Table, {at, Id}),
    Pause > 0 andalso N rem 100 =:= 0 andalso timer:sleep(Pause),
    steps(Table, Id, Operations, N + 1, Count, Pause).

step_operation(Table, Operations) ->
    Restarts = maps:get(restarts, ets:lookup_element(Table, options, 2), 0),
    case Restarts > 0 andalso rand:uniform(Restarts) =:= 1 of
        true -> restart;
        false -> element(rand:uniform(tuple_size(Operations)), Operations)
    end.

failed(Table, What) ->
    true = ets:insert(Table, {{failure, make_ref()}, What}).

failures(Table) ->
    [What || {{failure, _}, What} <- ets:tab2list(Table)].

%% #{operation => how often}
counts(Table) ->
    maps:from_list([{Op, N} || {{count, Op}, N} <- ets:tab2list(Table)]).

%% The operations that have been going on for longer than so many milliseconds.
overdue(Table, Limit) ->
    Now = now_ms(),
    [{Id, N, Op, Now - Since, process_info(Pid, current_stacktrace)}
     || {{at, Id}, Op, N, Pid, Since} <- ets:tab2list(Table), Now - Since > Limit].

%% Everything that the operations have left behind is ended.
finish(Table) ->
    [kill(Pid) || {{process, Pid}} <- ets:tab2list(Table)],
    [py_buffer:abort(Buf, finished) || {{buffer, _}, Buf} <- ets:tab2list(Table)],
    [py_channel:close(Channel) || {{channel, _}, Channel} <- ets:tab2list(Table)],
    [py_context:destroy(Context) || {{context, _}, Context} <- ets:tab2list(Table)],
    true = ets:delete(Table),
    ok.

kill(Pid) ->
    Monitor = monitor(process, Pid),
    true = exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

now_ms() ->
    erlang:monotonic_time(millisecond).

%% ---- Slots -----------------------------------------------------------------------------

choose(List) ->
    lists:nth(rand:uniform(length(List)), List).

slot(Table, Kind, Count) ->
    Key = {Kind, rand:uniform(Count)},
    case ets:lookup(Table, Key) of
        [{_, Value}] -> {Key, Value};
        [] -> {Key, none}
    end.

buffer(Table) ->
    case slot(Table, buffer, ?BUFFERS) of
        {Key, none} -> new_buffer(Table, Key);
        {_, Buf} -> Buf
    end.

new_buffer(Table, Key) ->
    {ok, Buf} = py_buffer:new(buffer_options()),
    true = ets:insert(Table, {Key, Buf}),
    Buf.

buffer_options() ->
    High = choose([infinity, infinity, 1, 100, 4096, 65536]),
    maps:merge(
        choose([#{}, #{content_length => 8 * rand:uniform(10000)}, #{copy => always},
                #{max_size => 8 * rand:uniform(100000)}]),
        maps:merge(choose([#{}, #{seekable => false}]), #{high_watermark => High})
    ).

channel(Table) ->
    case slot(Table, channel, ?CHANNELS) of
        {Key, none} -> new_channel(Table, Key);
        {_, Channel} -> Channel
    end.

new_channel(Table, Key) ->
    Options = #{max_size => choose([infinity, 10, 1000, 100_000]), binaries => choose([copy, view])},
    {ok, Channel} = py_channel:new(Options),
    true = ets:insert(Table, {Key, Channel}),
    Channel.

%% A number, and the letter that it stands for, so many times.
message() ->
    N = rand:uniform(1000),
    {N, binary:copy(<<($a + N rem 26)>>, choose([0, 1, 10, 100, 1000, 1900, 3000, 20_000]))}.

is_message({N, Letters}) ->
    Letters =:= binary:copy(<<($a + N rem 26)>>, byte_size(Letters)).

%% A slot that is free or whose process is gone gets a new one.
spawn_in(Table, Kind, Count, Fun) ->
    {Key, Pid} = slot(Table, Kind, Count),
    case is_pid(Pid) andalso is_process_alive(Pid) of
        true -> ok;
        false ->
            New = spawn(fun() ->
                receive go -> watched(Table, Kind, Fun) end,
                ets:delete(Table, {process, self()})
            end),
            true = ets:insert(Table, [{Key, New}, {{process, New}}]),
            New ! go,
            ok
    end.

watched(Table, Kind, Fun) ->
    try
        Fun()
    catch
        Class:Reason:Stack -> failed(Table, {Kind, Class, Reason, Stack})
    end.

kill_in(Table, Kind, Count) ->
    {_, Pid} = slot(Table, Kind, Count),
    _ = is_pid(Pid) andalso exit(Pid, kill),
    true = ets:delete(Table, {process, Pid}),
    ok.

data() ->
    Size = choose([1, 1, 2, 8, 64, 256, 512, 1000, 4096, 8192]),
    case rand:uniform(4) of
        1 -> [binary:copy(?PATTERN, Size), [<<"abcd">>, "efg", $\n]];
        2 -> binary:part(binary:copy(?PATTERN, Size + 10), 8, 8 * Size);
        _ -> binary:copy(?PATTERN, Size)
    end.

%% ---- Operations ------------------------------------------------------------------------------

%% With what weight each is chosen.
operations() ->
    [
        {write, 30},
        {write_waiting, 4},
        {new_buffer, 4},
        {info, 6},
        {close, 3},
        {abort, 2},
        {set_owner, 1},
        {monitor, 2},
        {spawn_writer, 2},
        {writer, 6},
        {kill_writer, 3},
        {reader, 10},
        {context_reader, 2},
        {kill_caller, 4},
        {call, 20},
        {spawn_call, 3},
        {cast, 2},
        {call_no_time, 3},
        {call_little_time, 1},
        {call_raising, 2},
        {busy, 1},
        {chain, 1},
        {context_call, 6},
        {context_new, 1},
        {context_destroy, 1},
        {interrupt, 2},
        {channel_new, 1},
        {channel_send, 12},
        {channel_recv, 8},
        {channel_close, 1},
        {channel_forget, 1},
        {channel_owner, 1},
        {channel_info, 2},
        {channel_user, 6},
        {channel_process, 4},
        {garbage_collect, 1},
        {runtime_info, 2}
    ].

operation(write, Table) ->
    accepted(py_buffer:write(buffer(Table), data(), 0));
operation(write_waiting, Table) ->
    accepted(py_buffer:write(buffer(Table), data(), rand:uniform(4)));
operation(new_buffer, Table) ->
    _ = new_buffer(Table, {buffer, rand:uniform(?BUFFERS)}),
    ok;
operation(info, Table) ->
    #{written := Written, read := Read, available := Available} =
        py_buffer:info(buffer(Table)),
    0 = Written rem 8,
    true = Read =< Written andalso Available =< Written;
operation(close, Table) ->
    ok = py_buffer:close(buffer(Table));
operation(abort, Table) ->
    ok = py_buffer:abort(buffer(Table), choose([reset, {shutdown, <<"x">>}, self()]));
operation(set_owner, Table) ->
    case slot(Table, writer, ?WRITERS) of
        {_, none} -> ok;
        {_, Pid} -> ok = py_buffer:set_owner(buffer(Table), Pid)
    end;
operation(monitor, Table) ->
    Buf = buffer(Table),
    spawn_in(Table, caller, ?CALLERS, fun() ->
        Ref = py_buffer:monitor(Buf),
        receive {py_buffer, Ref, What} when What =:= closed; What =:= drained -> ok end
    end);
operation(spawn_writer, Table) ->
    {Buf, Seed} = {buffer(Table), rand:uniform(1 bsl 30)},
    spawn_in(Table, writer, ?WRITERS, fun() ->
        _ = process_flag(trap_exit, true),
        {ok, Pid} = py_buffer:spawn_writer(Buf, fun(B) -> write_some(B, Seed) end),
        receive {'EXIT', Pid, Why} -> normal = Why end
    end);
operation(writer, Table) ->
    {Buf, Seed} = {buffer(Table), rand:uniform(1 bsl 30)},
    spawn_in(Table, writer, ?WRITERS, fun() -> write_some(Buf, Seed) end);
operation(kill_writer, Table) ->
    kill_in(Table, writer, ?WRITERS);
operation(reader, Table) ->
    read_in(Table, pool);
operation(context_reader, Table) ->
    case slot(Table, context, ?CONTEXTS) of
        {_, none} -> ok;
        {_, Context} -> read_in(Table, Context)
    end;
operation(kill_caller, Table) ->
    kill_in(Table, caller, ?CALLERS);
operation(call, _Table) ->
    answered({ok, 4.0}, py:call(math, sqrt, [16]));
operation(spawn_call, _Table) ->
    case py:spawn_call(math, sqrt, [16]) of
        Ref when is_reference(Ref) -> answered({ok, 4.0}, py:await(Ref));
        Error -> answered({ok, 4.0}, Error)
    end;
operation(cast, _Table) ->
    answered(ok, py:cast(math, sqrt, [16]));
operation(call_no_time, _Table) ->
    no_longer_than(0);
operation(call_little_time, _Table) ->
    no_longer_than(rand:uniform(3));
operation(call_raising, _Table) ->
    case py:call(ct_stress, fail, [rand:uniform(9)]) of
        {error, {<<"ValueError">>, _, _}} -> ok;
        Other -> answered(ok, Other)
    end;
operation(busy, _Table) ->
    %% On a busy machine the caller may notice too late.
    gave_up(answered({ok, none}, py:call(ct_stress, busy, [20], #{}, 2)));
operation(chain, _Table) ->
    Depth = rand:uniform(4),
    case py:call(ct_stress, chain, [Depth]) of
        {error, {<<"ErlangError">>, _, _}} -> ok; % stopped in between
        {ok, Below} when Below < 0 -> ok;
        Other -> answered({ok, Depth}, Other)
    end;
operation(context_call, Table) ->
    case slot(Table, context, ?CONTEXTS) of
        {_, none} -> ok;
        {_, Context} -> gave_up(answered({ok, 3}, py:eval(Context, "1 + 2", #{}, 20)))
    end;
operation(context_new, Table) ->
    {Key, Old} = slot(Table, context, ?CONTEXTS),
    _ = Old =/= none andalso py_context:destroy(Old),
    case py_context:new() of
        {ok, Context} -> true = ets:insert(Table, {Key, Context});
        {error, not_started} -> true = ets:delete(Table, Key)
    end;
operation(context_destroy, Table) ->
    case slot(Table, context, ?CONTEXTS) of
        {_, none} -> ok;
        {_, Context} -> ok = py_context:destroy(Context)
    end;
operation(interrupt, Table) ->
    case slot(Table, context, ?CONTEXTS) of
        {_, none} -> ok;
        {_, Context} -> ok = py:interrupt(Context)
    end;
operation(channel_new, Table) ->
    _ = new_channel(Table, {channel, rand:uniform(?CHANNELS)}),
    ok;
operation(channel_send, Table) ->
    sent(py_channel:send(channel(Table), message(), rand:uniform(4) - 1));
operation(channel_recv, Table) ->
    received(py_channel:recv(channel(Table), rand:uniform(4) - 1));
operation(channel_close, Table) ->
    ok = py_channel:close(channel(Table));
%% Abandoned, when nobody uses it.
operation(channel_forget, Table) ->
    true = ets:delete(Table, {channel, rand:uniform(?CHANNELS)});
operation(channel_owner, Table) ->
    case slot(Table, writer, ?WRITERS) of
        {_, none} -> ok;
        {_, Pid} -> ok = py_channel:set_owner(channel(Table), Pid)
    end;
operation(channel_info, Table) ->
    #{messages := Messages, size := Size} = py_channel:info(channel(Table)),
    true = Size >= Messages;
operation(channel_user, Table) ->
    Arguments = [channel(Table), rand:uniform(1 bsl 30), rand:uniform(100)],
    Timeout = choose([infinity, 5, 50, 500]),
    spawn_in(Table, caller, ?CALLERS, fun() ->
        gave_up(answered({ok, none}, py:call(ct_stress, use_channel, Arguments, #{}, Timeout)))
    end);
operation(channel_process, Table) ->
    {Channel, Seed} = {channel(Table), rand:uniform(1 bsl 30)},
    spawn_in(Table, writer, ?WRITERS, fun() -> use_channel(Channel, Seed) end);
operation(garbage_collect, _Table) ->
    true = erlang:garbage_collect();
operation(runtime_info, _Table) ->
    case py:info() of
        #{threads := _, queued := _} -> ok;
        {error, not_started} -> ok
    end;
operation(restart, _Table) ->
    _ = application:stop(erlpy),
    {ok, _} = application:ensure_all_started(erlpy),
    register_functions().

%% What a write may say.
accepted(ok) -> ok;
accepted({error, Reason}) when
    Reason =:= closed; Reason =:= busy; Reason =:= timeout; Reason =:= too_large;
    element(1, Reason) =:= aborted
->
    ok.

%% What was expected, or what a stop, a destroy or an interrupt makes of it.
answered(Expected, Expected) -> Expected;
answered(_Expected, {error, Reason}) when
    Reason =:= stopped; Reason =:= not_started; Reason =:= destroyed;
    Reason =:= interrupted; Reason =:= timeout
->
    {error, Reason}.

gave_up(_) -> ok.

no_longer_than(Timeout) ->
    answered({ok, 4.0}, py:call(math, sqrt, [16], #{}, Timeout)).

%% ---- What runs beside the drivers --------------------------------------------------------------

write_some(Buf, Seed) ->
    _ = rand:seed(exsss, Seed),
    write_times(Buf, rand:uniform(40)).

write_times(_Buf, 0) ->
    ok;
write_times(Buf, Left) ->
    rand:uniform(10) =:= 1 andalso timer:sleep(1),
    case py_buffer:write(Buf, data()) of
        ok -> write_times(Buf, Left - 1);
        Error -> accepted(Error)
    end.

sent(ok) -> ok;
sent(busy) -> ok;
sent({error, Reason}) when Reason =:= closed; Reason =:= timeout -> {error, Reason}.

received({ok, Message}) -> true = is_message(Message), ok;
received({error, Reason}) when Reason =:= closed; Reason =:= timeout -> {error, Reason}.

use_channel(Channel, Seed) ->
    _ = rand:seed(exsss, Seed),
    use_times(Channel, rand:uniform(60)).

use_times(_Channel, 0) ->
    ok;
use_times(Channel, Left) ->
    Used =
        case rand:uniform(2) of
            1 -> sent(py_channel:send(Channel, message(), 500));
            2 -> received(py_channel:recv(Channel, 50))
        end,
    Used =:= {error, closed} orelse use_times(Channel, Left - 1).

read_in(Table, Target) ->
    Arguments = [buffer(Table), rand:uniform(1 bsl 30), rand:uniform(60)],
    Timeout = choose([infinity, 5, 50, 500]),
    spawn_in(Table, caller, ?CALLERS, fun() ->
        case read_call(Target, Arguments, Timeout) of
            {ok, _} -> ok;
            Error -> answered(ok, Error)
        end
    end).

read_call(pool, Arguments, Timeout) ->
    py:call(ct_stress, read, Arguments, #{}, Timeout);
read_call(Context, Arguments, Timeout) ->
    py:call(Context, ct_stress, read, Arguments, #{}, Timeout).
