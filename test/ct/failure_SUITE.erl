%% A stream that fails: by abort, by the death of its owner, by being abandoned; and who
%% is told of its end.
-module(failure_SUITE).

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 30}}].

all() ->
    [{group, aborting}, {group, owners}, {group, abandoning}, {group, writers},
     {group, monitors}, bad_arguments, six_calls].

groups() ->
    [
        {aborting, [], [what_had_arrived_comes_first, whole_reads_fail_at_once,
                        blocked_readers_fail_at_once, the_first_end_wins,
                        whole_streams_cannot_fail, reasons_of_every_shape,
                        reason_without_counterpart, large_reason, reason_passes_through]},
        {owners, [], [owner_in_the_options, owner_that_ends_normally, owner_dead_before,
                      owner_replaced, owner_of_a_whole_stream, owner_of_many,
                      owner_with_a_write_that_waits, owners_in_a_race]},
        {abandoning, [], [last_term_dies_with_its_process, last_term_is_collected,
                          abandoned_readers_wake, pending_call_holds,
                          sent_back_does_not_undo, held_elsewhere, whole_when_dropped,
                          abandoned_without_python]},
        {writers, [], [writer_returns, writer_fails, writer_exits, writer_throws,
                       writer_is_killed, writer_dies_with_its_caller,
                       writer_waits_for_room, caller_that_traps_exits]},
        {monitors, [], [told_when_drained, told_when_known_length_is_read,
                        told_of_pythons_close, told_of_an_abort, told_when_freed,
                        told_at_once, all_are_told_once, told_while_nobody_listens]}
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

new() ->
    new(#{}).

new(Options) ->
    {ok, Buf} = py_buffer:new(Options),
    Buf.

call(Function, Args) ->
    {ok, Value} = py:call(ct_failure, Function, Args),
    Value.

attempt(Buf, Way) ->
    call(attempt, [Buf, Way]).

state(Buf) ->
    maps:get(state, py_buffer:info(Buf)).

becomes(Buf, State) ->
    erlpy_ct:eventually(fun() -> state(Buf) =:= State end).

%% ---- Aborting ------------------------------------------------------------------------

whole_ways() -> [read, readall, readlines, readexactly, readuntil, readview_exactly].

some_ways() -> [read_some, read1, readinto, peek, readline, next, readview, views].

raised(Reason) -> {<<"raised">>, Reason, true}.

what_had_arrived_comes_first(_Config) ->
    lists:foreach(
        fun({Way, First}) ->
            Buf = new(),
            ok = py_buffer:write(Buf, <<"arrived">>),
            ok = py_buffer:abort(Buf, broken),
            {Way, {<<"returned">>, First}} = {Way, attempt(Buf, Way)},
            _ = Way =:= peek andalso attempt(Buf, read_some),
            Again = raised(<<"broken">>),
            [Again = attempt(Buf, Other) || Other <- [Way, Way, at_eof, read_nonblock]]
        end,
        [{read_some, <<"arrived">>}, {read1, <<"arrived">>}, {readinto, 7},
         {peek, <<"arrived">>}, {readview, <<"arrived">>}]
    ),
    Lines = new(),
    ok = py_buffer:write(Lines, <<"one\ntwo\n">>),
    ok = py_buffer:abort(Lines, broken),
    {<<"returned">>, <<"one\n">>} = attempt(Lines, readline),
    {<<"returned">>, false} = attempt(Lines, at_eof),
    {<<"returned">>, <<"two\n">>} = attempt(Lines, next),
    {<<"raised">>, <<"broken">>, true} = attempt(Lines, readline).

%% They promise all of it: they consume nothing.
whole_reads_fail_at_once(_Config) ->
    Buf = new(),
    ok = py_buffer:write(Buf, <<"arrived">>),
    ok = py_buffer:abort(Buf, broken),
    Raised = raised(<<"broken">>),
    [{Way, Raised} = {Way, attempt(Buf, Way)} || Way <- whole_ways()],
    0 = call(position, [Buf]),
    {<<"returned">>, <<"arrived">>} = attempt(Buf, read_some).

blocked_readers_fail_at_once(_Config) ->
    Ways = whole_ways() ++ some_ways(),
    Readers = [begin
                   Buf = new(),
                   {Way, Buf, py:spawn_call(ct_failure, attempt, [Buf, Way])}
               end || Way <- Ways],
    [ok = erlpy_ct:eventually(fun() ->
         maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1
     end) || {_, Buf, _} <- Readers],
    [ok = py_buffer:abort(Buf, broken) || {_, Buf, _} <- Readers],
    Raised = {ok, raised(<<"broken">>)},
    [{Way, Raised} = {Way, py:await(Ref, 2000)} || {Way, _, Ref} <- Readers],
    ok.

the_first_end_wins(_Config) ->
    Closed = new(),
    ok = py_buffer:write(Closed, <<"all">>),
    ok = py_buffer:close(Closed),
    ok = py_buffer:abort(Closed, late),
    ended = state(Closed),
    {<<"returned">>, <<"all">>} = attempt(Closed, read),
    Aborted = new(),
    ok = py_buffer:abort(Aborted, first),
    ok = py_buffer:abort(Aborted, {second, [time]}),
    ok = py_buffer:close(Aborted),
    {aborted, first} = state(Aborted),
    {error, {aborted, first}} = py_buffer:write(Aborted, <<"x">>),
    {error, {aborted, first}} = py_buffer:write(Aborted, ["x"], 100).

whole_streams_cannot_fail(_Config) ->
    Known = new(#{content_length => 3}),
    ok = py_buffer:write(Known, <<"abc">>),
    ok = py_buffer:abort(Known, late),
    open = state(Known),
    {<<"returned">>, <<"abc">>} = attempt(Known, read),
    Short = new(#{content_length => 3}),
    ok = py_buffer:write(Short, <<"ab">>),
    ok = py_buffer:abort(Short, early),
    {aborted, early} = state(Short),
    {<<"raised">>, <<"early">>, true} = attempt(Short, read).

reasons_of_every_shape(_Config) ->
    Terms = [timeout, {error, enoent}, <<"text">>, [1, 2.5, <<"x">>], #{why => {a, b}},
             1 bsl 100, {shutdown, [{nested, #{1 => 2}}]}, self(), make_ref(), [], {}],
    lists:foreach(
        fun(Term) ->
            Buf = new(),
            ok = py_buffer:abort(Buf, Term),
            {aborted, Term} = state(Buf),
            {error, {aborted, Term}} = py_buffer:write(Buf, <<"x">>),
            %% As any term that Python gives back.
            {ok, Expected} = py:call(ct_buffers, echo, [Term]),
            Expected = call(reason_back, [Buf])
        end,
        Terms
    ),
    Text = new(),
    ok = py_buffer:abort(Text, <<"the disk is full">>),
    {<<"str">>, _, <<"the stream was aborted: the disk is full">>} = call(reason, [Text]).

%% It arrives as its printed text.
reason_without_counterpart(_Config) ->
    Deep = lists:foldl(fun(_, T) -> [T] end, [], lists:seq(1, 2000)),
    [begin
         Buf = new(),
         ok = py_buffer:abort(Buf, Term),
         {aborted, Term} = state(Buf),
         {<<"str">>, Printed, _} = call(reason, [Buf]),
         true = string:find(Printed, Part) =/= nomatch
     end || {Term, Part} <- [{{bad, fun erlang:hd/1}, <<"{bad,fun erlang:hd/1}">>},
                             {{str, <<255>>}, <<"str">>},
                             {[a | b], <<"[a|b]">>},
                             {<<5:3>>, <<"<<5:3>>">>},
                             {#{1 => a, 1.0 => b}, <<"1.0 => b">>},
                             {Deep, <<"...">>}]],
    ok.

large_reason(_Config) ->
    Buf = new(),
    Term = {crashed, [{N, rand:bytes(100)} || N <- lists:seq(1, 20_000)]},
    ok = py_buffer:abort(Buf, Term),
    true = state(Buf) =:= {aborted, Term},
    [<<"crashed">> | _] = tuple_to_list(call(reason_back, [Buf])),
    ok.

%% Out of the handler, as any exception.
reason_passes_through(_Config) ->
    Buf = new(),
    ok = py_buffer:abort(Buf, {disk, full}),
    {error, {<<"BufferAborted">>, Text, _}} = py:call(ct_failure, raise_through, [Buf]),
    <<"the stream was aborted: ('disk', 'full')">> = Text.

%% ---- Owners --------------------------------------------------------------------------

idle() ->
    spawn(fun() -> receive {stop, Why} -> exit(Why) end end).

ends(Pid, Why) ->
    Monitor = erlang:monitor(process, Pid),
    Pid ! {stop, Why},
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

killed(Pid) ->
    Monitor = erlang:monitor(process, Pid),
    unlink(Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

owner_in_the_options(_Config) ->
    Owner = idle(),
    Buf = new(#{owner => Owner}),
    Reader = py:spawn_call(ct_failure, attempt, [Buf, read]),
    ok = py_buffer:write(Buf, <<"some">>),
    ok = killed(Owner),
    {ok, {<<"raised">>, <<"owner_down">>, true}} = py:await(Reader, 2000),
    {aborted, owner_down} = state(Buf),
    {error, {aborted, owner_down}} = py_buffer:write(Buf, <<"more">>),
    {<<"returned">>, <<"some">>} = attempt(Buf, read_some),
    {<<"str">>, _, <<"the stream was aborted: owner_down (the process that owned it has ended)">>} =
        call(reason, [Buf]).

owner_that_ends_normally(_Config) ->
    Owner = idle(),
    Buf = new(),
    ok = py_buffer:set_owner(Buf, Owner),
    open = state(Buf),
    ok = ends(Owner, normal),
    ok = becomes(Buf, {aborted, owner_down}).

owner_dead_before(_Config) ->
    Dead = idle(),
    ok = killed(Dead),
    {aborted, owner_down} = state(new(#{owner => Dead})),
    Buf = new(),
    ok = py_buffer:set_owner(Buf, Dead),
    {aborted, owner_down} = state(Buf).

%% The death of the one before does not matter any more.
owner_replaced(_Config) ->
    [First, Second, Third] = [idle(), idle(), idle()],
    Buf = new(#{owner => First}),
    ok = py_buffer:set_owner(Buf, Second),
    ok = py_buffer:set_owner(Buf, Third),
    ok = killed(First),
    ok = killed(Second),
    ok = py_buffer:write(Buf, <<"still open">>),
    open = state(Buf),
    ok = py_buffer:set_owner(Buf, Third),
    ok = killed(Third),
    ok = becomes(Buf, {aborted, owner_down}).

owner_of_a_whole_stream(_Config) ->
    Owner = idle(),
    Closed = new(#{owner => Owner}),
    ok = py_buffer:close(Closed),
    Known = new(#{owner => Owner, content_length => 2}),
    ok = py_buffer:write(Known, <<"ab">>),
    Open = new(#{owner => Owner}),
    ok = killed(Owner),
    ok = becomes(Open, {aborted, owner_down}),
    ended = state(Closed),
    open = state(Known),
    {<<"returned">>, <<"ab">>} = attempt(Known, read),
    ok = py_buffer:set_owner(Closed, Owner),
    ended = state(Closed).

owner_of_many(_Config) ->
    Owner = idle(),
    Bufs = [new(#{owner => Owner}) || _ <- lists:seq(1, 2000)],
    {Ms, ok} = erlpy_ct:timed(fun() ->
        ok = killed(Owner),
        [ok = becomes(Buf, {aborted, owner_down}) || Buf <- Bufs],
        ok
    end),
    ct:pal("2000 streams of one owner: ~b ms", [Ms]).

owner_with_a_write_that_waits(_Config) ->
    Self = self(),
    Buf = new(#{high_watermark => 10}),
    ok = py_buffer:write(Buf, <<"0123456789">>),
    Owner = spawn(fun() -> py_buffer:write(Buf, <<"owner">>) end),
    ok = py_buffer:set_owner(Buf, Owner),
    Other = spawn_link(fun() -> Self ! {self(), py_buffer:write(Buf, <<"other">>)} end),
    ok = erlpy_ct:eventually(fun() ->
        maps:get(waiting_writers, py_buffer:info(Buf)) =:= 2
    end),
    ok = killed(Owner),
    receive {Other, Answer} -> {error, {aborted, owner_down}} = Answer end,
    #{written := 10, waiting_writers := 0} = py_buffer:info(Buf).

%% Owners change and die while the stream goes away.
owners_in_a_race(_Config) ->
    [begin
         Pids = [idle() || _ <- lists:seq(1, 4)],
         {_, Monitor} = spawn_monitor(fun() ->
             Buf = new(),
             [ok = py_buffer:set_owner(Buf, Pid) || Pid <- Pids]
         end),
         [exit(Pid, kill) || Pid <- Pids],
         receive {'DOWN', Monitor, process, _, Why} -> normal = Why end
     end || _ <- lists:seq(1, 1000)],
    ok.

%% ---- Abandoning ----------------------------------------------------------------------

%% What Python kept is read by the name: a term would hold the buffer.
is_abandoned(Name) ->
    erlpy_ct:eventually(fun() -> kept(Name, read) =:= {<<"raised">>, <<"abandoned">>, true} end).

kept(Name, Way) ->
    call(kept_attempt, [Name, Way]).

in_process(Fun) ->
    {_, Monitor} = spawn_monitor(Fun),
    receive {'DOWN', Monitor, process, _, Why} -> normal = Why end,
    ok.

last_term_dies_with_its_process(_Config) ->
    ok = in_process(fun() ->
        Buf = new(),
        none = call(keep, [dies, Buf]),
        ok = py_buffer:write(Buf, <<"some">>)
    end),
    {<<"raised">>, <<"abandoned">>, true} = kept(dies, read),
    {<<"returned">>, <<"some">>} = kept(dies, read_some),
    {<<"raised">>, <<"abandoned">>, true} = kept(dies, read_some),
    none = call(let_go, [dies]).

last_term_is_collected(_Config) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        none = call(keep, [collected, new()]),
        Self ! {self(), kept},
        receive stop -> ok end
    end),
    receive {Pid, kept} -> ok end,
    true = garbage_collect(Pid),
    ok = erlpy_ct:eventually(fun() ->
        true = garbage_collect(Pid),
        kept(collected, at_eof) =:= {<<"raised">>, <<"abandoned">>, true}
    end),
    Pid ! stop,
    none = call(let_go, [collected]).

abandoned_readers_wake(_Config) ->
    Self = self(),
    Pid = spawn(fun() ->
        Buf = new(),
        Self ! {self(), py:spawn_call(ct_failure, attempt, [Buf, read])},
        ok = erlpy_ct:eventually(fun() ->
            maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1
        end),
        none = call(keep, [woken, Buf])
    end),
    receive {Pid, _Ref} -> ok end,
    %% Its own call is cancelled by its death; another's is not.
    ok = erlpy_ct:eventually(fun() -> not is_process_alive(Pid) end),
    {<<"raised">>, <<"abandoned">>, true} = kept(woken, readline),
    none = call(let_go, [woken]).

%% Until its arguments have been converted.
pending_call_holds(_Config) ->
    {ok, Context} = py_context:new(),
    Gate = new(),
    Busy = py:spawn_call(Context, ct_failure, attempt, [Gate, read_some]),
    ok = erlpy_ct:eventually(fun() ->
        maps:get(waiting_readers, py_buffer:info(Gate)) =:= 1
    end),
    ok = in_process(fun() ->
        Buf = new(),
        ok = py_buffer:write(Buf, <<"held">>),
        ok = py:cast(Context, ct_failure, keep, [pending, Buf])
    end),
    erlpy_ct:collect(),
    ok = py_buffer:write(Gate, <<"go">>),
    {ok, _} = py:await(Busy, 2000),
    {ok, 0} = py:call(Context, builtins, len, [[]]),
    %% Now only Python has it.
    ok = is_abandoned(pending),
    {<<"returned">>, <<"held">>} = kept(pending, read_some),
    none = call(let_go, [pending]),
    ok = py_context:destroy(Context).

sent_back_does_not_undo(_Config) ->
    ok = in_process(fun() -> none = call(keep, [back, new()]) end),
    ok = is_abandoned(back),
    Back = call(give_back, [back]),
    {aborted, abandoned} = state(Back),
    {error, {aborted, abandoned}} = py_buffer:write(Back, <<"x">>),
    ok = py_buffer:set_owner(Back, self()),
    ok = py_buffer:close(Back),
    {aborted, abandoned} = state(Back),
    none = call(let_go, [back]).

%% In a table, in a message that nobody took, in another process.
held_elsewhere(_Config) ->
    Table = ets:new(held, [public]),
    Holder = idle(),
    ok = in_process(fun() ->
        [A, B] = [new(), new()],
        none = call(keep, [in_table, A]),
        none = call(keep, [in_message, B]),
        true = ets:insert(Table, {buf, A}),
        Holder ! {hold, B}
    end),
    erlpy_ct:collect(),
    Names = [<<"in_table">>, <<"in_message">>],
    [{<<"returned">>, false} = kept(Name, at_eof) || Name <- Names],
    true = ets:delete(Table),
    ok = killed(Holder),
    [ok = erlpy_ct:eventually(fun() ->
         kept(Name, at_eof) =:= {<<"raised">>, <<"abandoned">>, true}
     end) || Name <- Names],
    [none = call(let_go, [Name]) || Name <- Names],
    ok.

whole_when_dropped(_Config) ->
    ok = in_process(fun() ->
        Closed = new(),
        none = call(keep, [closed, Closed]),
        ok = py_buffer:write(Closed, <<"all">>),
        ok = py_buffer:close(Closed),
        Known = new(3),
        none = call(keep, [known, Known]),
        ok = py_buffer:write(Known, <<"all">>)
    end),
    erlpy_ct:collect(),
    [{<<"returned">>, <<"all">>} = kept(Name, read) || Name <- [closed, known]],
    [none = call(let_go, [Name]) || Name <- [closed, known]],
    ok.

abandoned_without_python(_Config) ->
    ok = in_process(fun() ->
        [begin
             Buf = new(#{owner => self(), high_watermark => 10}),
             ok = py_buffer:write(Buf, rand:bytes(3000)),
             _ = py_buffer:monitor(Buf)
         end || _ <- lists:seq(1, 1000)]
    end).

%% ---- Writers of their own ---------------------------------------------------------------

writer_returns(_Config) ->
    Buf = new(),
    Ref = py_buffer:monitor(Buf),
    {ok, Pid} = py_buffer:spawn_writer(Buf, fun(B) ->
        B = Buf,
        ok = py_buffer:write(B, <<"all of it">>),
        whatever
    end),
    true = is_pid(Pid),
    {<<"returned">>, <<"all of it">>} = attempt(Buf, read),
    receive {py_buffer, Ref, What} -> drained = What end,
    ended = state(Buf),
    ok = erlpy_ct:eventually(fun() -> not is_process_alive(Pid) end).

failing_writer(Fun) ->
    Buf = new(),
    {ok, Pid} = py_buffer:spawn_writer(Buf, fun(B) ->
        ok = py_buffer:write(B, <<"part">>),
        receive go -> Fun() end
    end),
    Monitor = erlang:monitor(process, Pid),
    Pid ! go,
    Why = receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end,
    %% What a monitor says is what the buffer says.
    {aborted, Why} = state(Buf),
    {<<"returned">>, <<"part">>} = attempt(Buf, read_some),
    {<<"raised">>, _, true} = attempt(Buf, read_some),
    Why.

writer_fails(_Config) ->
    {boom, [_ | _]} = failing_writer(fun() -> error(boom) end).

writer_exits(_Config) ->
    {shutdown, why} = failing_writer(fun() -> exit({shutdown, why}) end),
    normal = failing_writer(fun() -> exit(normal) end).

writer_throws(_Config) ->
    {{nocatch, ball}, [_ | _]} = failing_writer(fun() -> throw(ball) end).

%% From outside there is nothing to catch; the link tells the caller.
writer_is_killed(_Config) ->
    Self = self(),
    {Caller, Monitor} = spawn_monitor(fun() ->
        Buf = new(),
        {ok, Writer} = py_buffer:spawn_writer(Buf, fun(_) -> receive never -> ok end end),
        Self ! {self(), Buf, Writer},
        receive never -> ok end
    end),
    {Buf, Writer} = receive {Caller, B, W} -> {B, W} end,
    exit(Writer, kill),
    receive {'DOWN', Monitor, process, _, Why} -> killed = Why end,
    ok = becomes(Buf, {aborted, owner_down}).

writer_dies_with_its_caller(_Config) ->
    Self = self(),
    Caller = spawn(fun() ->
        Buf = new(),
        {ok, Writer} = py_buffer:spawn_writer(Buf, fun(_) -> receive never -> ok end end),
        Self ! {self(), Buf, Writer},
        receive never -> ok end
    end),
    {Buf, Writer} = receive {Caller, B, W} -> {B, W} end,
    Monitor = erlang:monitor(process, Writer),
    exit(Caller, kill),
    receive {'DOWN', Monitor, process, _, Why} -> killed = Why end,
    ok = becomes(Buf, {aborted, owner_down}).

writer_waits_for_room(_Config) ->
    Buf = new(#{high_watermark => 100, last_reader => keep}),
    Data = rand:bytes(50_000),
    {ok, _} = py_buffer:spawn_writer(Buf, fun(B) ->
        [ok = py_buffer:write(B, Piece) || Piece <- erlpy_ct:pieces(Data, 99)]
    end),
    {<<"returned">>, Read} = attempt(Buf, read),
    true = Read =:= Data.

%% It gets no message, whether the writer returns or fails.
caller_that_traps_exits(_Config) ->
    Before = process_flag(trap_exit, true),
    [begin
         Buf = new(),
         {ok, Pid} = py_buffer:spawn_writer(Buf, Fun),
         ok = erlpy_ct:eventually(fun() -> not is_process_alive(Pid) end),
         true = state(Buf) =/= open
     end || Fun <- [fun(_) -> ok end, fun(_) -> error(boom) end, fun(_) -> exit(gone) end]],
    {messages, []} = process_info(self(), messages),
    _ = process_flag(trap_exit, Before),
    ok.

%% ---- Monitors ------------------------------------------------------------------------

told(Ref) ->
    receive {py_buffer, Ref, What} -> What after 2000 -> nothing end.

not_told(Ref) ->
    receive {py_buffer, Ref, What} -> ct:fail({told, What}) after 30 -> ok end.

told_when_drained(_Config) ->
    Buf = new(),
    ok = py_buffer:write(Buf, <<"abc">>),
    Ref = py_buffer:monitor(Buf),
    true = is_reference(Ref),
    {<<"returned">>, <<"abc">>} = attempt(Buf, read_some),
    ok = not_told(Ref),
    ok = py_buffer:write(Buf, <<"def">>),
    ok = py_buffer:close(Buf),
    ok = not_told(Ref),
    {<<"returned">>, <<"def">>} = attempt(Buf, read_some),
    drained = told(Ref).

told_when_known_length_is_read(_Config) ->
    Buf = new(3),
    Ref = py_buffer:monitor(Buf),
    ok = py_buffer:write(Buf, <<"abc">>),
    ok = not_told(Ref),
    {<<"returned">>, <<"abc">>} = attempt(Buf, read),
    drained = told(Ref).

told_of_pythons_close(_Config) ->
    Buf = new(),
    Ref = py_buffer:monitor(Buf),
    ok = py_buffer:write(Buf, <<"abc">>),
    {ok, none} = py:call(ct_buffers, invoke, [Buf, close]),
    closed = told(Ref).

told_of_an_abort(_Config) ->
    Buf = new(),
    Ref = py_buffer:monitor(Buf),
    ok = py_buffer:abort(Buf, why),
    closed = told(Ref).

%% By then nobody can read on.
told_when_freed(_Config) ->
    Self = self(),
    ok = in_process(fun() ->
        Buf = new(),
        ok = py_buffer:close(Buf),
        ok = py_buffer:write(new(), <<"x">>),
        Unread = new(),
        ok = py_buffer:write(Unread, <<"x">>),
        ok = py_buffer:close(Unread),
        Watcher = spawn(fun() ->
            receive {watch, B} -> Ref = py_buffer:monitor(B), erlang:send(Self, {self(), told_with(Ref)}) end
        end),
        Watcher ! {watch, Unread},
        Self ! {watcher, Watcher}
    end),
    Watcher = receive {watcher, W} -> W end,
    receive {Watcher, What} -> closed = What after 5000 -> ct:fail(not_told) end.

told_with(Ref) ->
    true = garbage_collect(),
    told(Ref).

told_at_once(_Config) ->
    Drained = new(),
    ok = py_buffer:close(Drained),
    drained = told(py_buffer:monitor(Drained)),
    Aborted = new(),
    ok = py_buffer:abort(Aborted, why),
    closed = told(py_buffer:monitor(Aborted)).

all_are_told_once(_Config) ->
    Buf = new(),
    Refs = [py_buffer:monitor(Buf) || _ <- lists:seq(1, 100)],
    100 = length(lists:usort(Refs)),
    ok = py_buffer:close(Buf),
    [drained = told(Ref) || Ref <- Refs],
    {ok, none} = py:call(ct_buffers, invoke, [Buf, close]),
    ok = py_buffer:abort(Buf, late),
    {messages, []} = process_info(self(), messages),
    ok.

told_while_nobody_listens(_Config) ->
    Buf = new(),
    [ok = in_process(fun() -> _ = py_buffer:monitor(Buf) end) || _ <- lists:seq(1, 100)],
    Ref = py_buffer:monitor(Buf),
    ok = py_buffer:close(Buf),
    drained = told(Ref).

%% ---- Arguments -----------------------------------------------------------------------

bad_arguments(_Config) ->
    Buf = new(),
    Far = binary_to_term(<<131, 88, 119, 5, "there", 0:32, 0:32, 0:32>>),
    Fun = fun(_) -> ok end,
    Cases = [
        {abort, 1, [x, why]}, {abort, 1, [make_ref(), why]}, {abort, 1, [self(), {why}]},
        {set_owner, 1, [x, self()]}, {set_owner, 1, [make_ref(), self()]},
        {set_owner, 2, [Buf, x]}, {set_owner, 2, [Buf, Far]}, {set_owner, 2, [Buf, none]},
        {monitor, 1, [x]}, {monitor, 1, [make_ref()]},
        {spawn_writer, 1, [x, Fun]}, {spawn_writer, 1, [make_ref(), Fun]},
        {spawn_writer, 2, [Buf, x]}, {spawn_writer, 2, [Buf, fun() -> ok end]}
    ],
    [erlpy_ct:badarg(py_buffer, Function, Args, N) || {Function, N, Args} <- Cases],
    open = state(Buf).

six_calls(_Config) ->
    erlpy_ct:still_works().
