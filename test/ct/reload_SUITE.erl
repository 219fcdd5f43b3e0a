%% Exchanging the code of a running application: the Erlang modules, the C library for
%% another copy of itself, and a library that does not fit.
-module(reload_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        modules_twice,
        every_module_at_once,
        second_copy,
        back_and_forth,
        beside_traffic,
        layout_mismatch_is_refused,
        text_where_the_library_should_be,
        fresh_load_beside_running_python,
        objects_while_the_module_is_gone,
        cover_compiled,
        six_calls
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 12}]),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config, [{contexts, 12}]),
    Config.

end_per_testcase(_Case, _Config) ->
    ok.

%% ---- What is under way ---------------------------------------------------------------

%% A process that reports what Fun answered, or how it died.
worker(Name, Fun) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Self ! {self(), Fun()} end),
    {Name, Pid, Monitor}.

answer({Name, Pid, Monitor}) ->
    receive
        {Pid, Answer} ->
            erlang:demonitor(Monitor, [flush]),
            Answer;
        {'DOWN', Monitor, process, Pid, Reason} ->
            ct:fail({Name, died, Reason})
    after 15000 -> ct:fail({Name, does_not_end, process_info(Pid, current_stacktrace)})
    end.

%% A reader on the pool and one on a context, both blocked; two calls in flight, one of
%% them with a timeout; a call that waits for an Erlang function; a coroutine, and one that
%% will be cancelled; two writers that wait for room; and all who can wait for a channel.
begin_work(Tag) ->
    Self = self(),
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"abc">>),
    {ok, Other} = py_buffer:new(),
    {ok, Context} = py_context:new(),
    Read = fun() -> py:call(ct_reload, read_in_turns, [Self, {Tag, <<"pool">>}, Buf, 1000]) end,
    ReadThere =
        fun() -> py:call(Context, ct_buffers, read_after_word, [Self, {Tag, <<"context">>}, Other]) end,
    Wait = fun() -> py:call(ct_reload, pass_gate, [Self, {Tag, <<"gate">>}, Tag]) end,
    WaitLong =
        fun() -> py:call(ct_reload, pass_gate, [Self, {Tag, <<"late">>}, Tag], #{}, 50000) end,
    Event = fun() -> py:call(ct_async, wait_for_event, [none, Tag]) end,
    Doomed = spawn(fun() -> py:call(ct_async, wait_watched, [Self]) end),
    receive {running, none} -> ok after 5000 -> ct:fail(no_coroutine) end,
    ok = py:register_function(ct_reload, fun() -> await_end(Self, Tag) end),
    CallBack = fun() -> py:call(erlang, call, [<<"ct_reload">>]) end,
    Workers = [
        worker(called_back, CallBack), worker(reader, Read), worker(context_reader, ReadThere),
        worker(caller, Wait), worker(patient_caller, WaitLong),
        worker(coroutine, Event)
    ],
    [receive {reading, {Tag, Who}} -> ok after 5000 -> ct:fail({no, Who}) end
     || Who <- [<<"pool">>, <<"context">>, <<"gate">>, <<"late">>]],
    receive {piece, {Tag, <<"pool">>}, 3} -> ok end,
    Function = receive {in_function, Tag, Pid} -> Pid after 5000 -> ct:fail(no_function) end,
    erlpy_ct:eventually(fun() -> waits(Buf) andalso waits(Other) end),
    #{tag => Tag, buf => Buf, other => Other, context => Context, workers => Workers,
      function => Function, doomed => Doomed, writers => park_writers(),
      channel => wait_for_channel()}.

%% The Erlang function that Python waits for.
await_end(Parent, Tag) ->
    Parent ! {in_function, Tag, self()},
    receive finish -> Tag end.

waits(Buf) ->
    maps:get(waiting_readers, py_buffer:info(Buf)) =:= 1.

park_writers() ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 4, low_watermark => 0, last_reader => keep}),
    ok = py_buffer:write(Buf, <<"full">>),
    Writer = worker(writer, fun() -> py_buffer:write(Buf, <<"more">>) end),
    erlpy_ct:eventually(fun() -> parked(Buf) =:= 1 end),
    Patient = worker(patient_writer, fun() -> py_buffer:write(Buf, <<"last">>, 50000) end),
    erlpy_ct:eventually(fun() -> parked(Buf) =:= 2 end),
    {Buf, Writer, Patient}.

%% Two senders, a receiver on the pool, and two processes that receive.
wait_for_channel() ->
    {ok, Full} = py_channel:new(#{max_size => 10}),
    ok = py_channel:send(Full, <<"first">>),
    {ok, Empty} = py_channel:new(),
    Workers = [
        worker(sender, fun() -> py_channel:send(Full, <<"second">>, infinity) end),
        worker(patient_sender, fun() -> py_channel:send(Full, <<"third">>, 50000) end),
        worker(python_receiver, fun() -> py:call(ct_channel, 'receive', [Empty]) end),
        worker(receiver, fun() -> py_channel:recv(Empty) end),
        worker(patient_receiver, fun() -> py_channel:recv(Empty, 50000) end)
    ],
    erlpy_ct:eventually(fun() -> all_wait(Full, Empty) end),
    {Full, Empty, Workers}.

all_wait(Full, Empty) ->
    #{waiting_senders := Senders} = py_channel:info(Full),
    #{waiting_receivers := Python, outbox := #{waiting_receivers := Receivers}} =
        py_channel:info(Empty),
    {Senders, Python, Receivers} =:= {2, 1, 2}.

end_channel({Full, Empty, [Sender, PatientSender | Receivers]}) ->
    true = all_wait(Full, Empty),
    {ok, [_, _, _]} = py:call(ct_channel, receive_some, [Full, 3]),
    [ok = answer(Worker) || Worker <- [Sender, PatientSender]],
    ok = py_channel:send(Empty, {<<"to">>, Full}),
    {ok, none} = py:call(ct_channel, put_all, [Empty, [<<"from">>, <<"from">>]]),
    [{ok, {<<"to">>, Full}}, {ok, <<"from">>}, {ok, <<"from">>}] =
        [answer(Worker) || Worker <- Receivers],
    ok.

parked(Buf) ->
    maps:get(waiting_writers, py_buffer:info(Buf)).

%% All of it ends as it would have without the exchange.
end_work(Work) ->
    #{tag := Tag, buf := Buf, other := Other, context := Context, workers := Workers} = Work,
    [CalledBack, Reader, ContextReader, Caller, PatientCaller, Coroutine] = Workers,
    true = waits(Buf) andalso waits(Other),
    ok = py_buffer:write(Buf, <<"def">>),
    receive {piece, {Tag, <<"pool">>}, 3} -> ok after 5000 -> ct:fail(no_piece) end,
    ok = py_buffer:close(Buf),
    ok = py_buffer:write(Other, [<<"gh">>, <<"i">>]),
    ok = py_buffer:close(Other),
    {ok, none} = py:call(ct_reload, open_gate, [{Tag, <<"gate">>}]),
    {ok, none} = py:call(ct_reload, open_gate, [{Tag, <<"late">>}]),
    {ok, <<"abcdef">>} = answer(Reader),
    {ok, <<"ghi">>} = answer(ContextReader),
    {ok, Tag} = answer(Caller),
    {ok, Tag} = answer(PatientCaller),
    maps:get(function, Work) ! finish,
    {ok, Tag} = answer(CalledBack),
    {ok, none} = py:call(ct_async, set_event, [Tag]),
    {ok, _} = answer(Coroutine),
    exit(maps:get(doomed, Work), kill),
    receive {ended, <<"CancelledError">>} -> ok after 5000 -> ct:fail(not_cancelled) end,
    ok = py_context:destroy(Context),
    ok = end_writers(maps:get(writers, Work)),
    ok = end_channel(maps:get(channel, Work)).

%% One after the other, each by what is read.
end_writers({Buf, Writer, Patient}) ->
    2 = parked(Buf),
    Read = fun() -> py:call(ct_buffers, invoke, [Buf, read, 4]) end,
    {ok, <<"full">>} = Read(),
    ok = answer(Writer),
    1 = parked(Buf),
    {ok, <<"more">>} = Read(),
    ok = answer(Patient),
    {ok, <<"last">>} = Read(),
    py_buffer:close(Buf).

%% ---- The Erlang modules -----------------------------------------------------------------

%% Those that may be exchanged at any time: all but the one that waits.
modules() ->
    {ok, Modules} = application:get_key(erlpy, modules),
    Modules -- [py_wait].

reload(Module) ->
    _ = code:purge(Module),
    {module, Module} = code:load_file(Module),
    ok.

modules_twice(_Config) ->
    Runtime = whereis(erlpy_runtime),
    Work = begin_work(<<"twice">>),
    [ok = reload(Module) || _ <- [1, 2], Module <- modules()],
    [_ = code:purge(Module) || Module <- modules()],
    ok = end_work(Work),
    Runtime = whereis(erlpy_runtime),
    ok = erlpy_ct:still_works().

%% The waiting module can be exchanged once: who waits does so in its old code.
every_module_at_once(_Config) ->
    Work = begin_work(<<"once">>),
    {ok, Modules} = application:get_key(erlpy, modules),
    [_ = code:purge(Module) || Module <- Modules],
    ok = code:atomic_load(Modules -- [py_nif]),
    ok = reload(py_nif),
    ok = end_work(Work),
    true = code:soft_purge(py_wait),
    ok = erlpy_ct:still_works().

%% ---- Another copy of the library -----------------------------------------------------------

%% The built application in a folder of its own; its ebin folder.
copy(Config, Name) ->
    Here = filename:dirname(filename:dirname(code:which(py_nif))),
    There = filename:join([?config(priv_dir, Config), Name]),
    ok = filelib:ensure_path(There),
    [ok = run("cp", ["-rL", filename:join(Here, Part), There]) || Part <- ["ebin", "priv"]],
    filename:join(There, "ebin").

run(Program, Args) ->
    Port = open_port({spawn_executable, os:find_executable(Program)}, [
        {args, Args}, exit_status, stderr_to_stdout, binary
    ]),
    receive {Port, {exit_status, Status}} -> 0 = Status end,
    ok.

library(Ebin) ->
    filename:join([filename:dirname(Ebin), "priv", "erlpy.so"]).

%% Runs a function of this suite in a node of its own, in which erlpy is started.
in_peer(Config, Function, Args) ->
    {Peer, _} = erlpy_ct:peer(Function, #{}),
    Answer = peer:call(Peer, ?MODULE, run_case, [Config, Function, Args], 50000),
    ok = peer:stop(Peer),
    Answer.

run_case(Config, Function, Args) ->
    ok = erlpy_ct:start(Config, [{contexts, 12}]),
    apply(?MODULE, Function, Args).

use_copy(Ebin) ->
    true = code:add_patha(Ebin),
    [ok = reload(Module) || Module <- modules()],
    Ebin = filename:dirname(code:which(py_nif)),
    [_, _] = loaded_libraries(),
    ok.

%% The files of this process's memory that are such libraries.
loaded_libraries() ->
    {ok, Maps} = file:read_file("/proc/self/maps"),
    {match, Found} = re:run(Maps, "/.*/erlpy\\.so", [global, {capture, first, binary}]),
    lists:usort(lists:append(Found)).

second_copy(Config) ->
    ok = in_peer(Config, with_second_copy, [copy(Config, "second")]).

with_second_copy(Ebin) ->
    Before = begin_work(<<"before">>),
    Buf = py_buffer_in_python(),
    ok = use_copy(Ebin),
    ok = use_copy(Ebin),
    true = lists:member(list_to_binary(library(Ebin)), loaded_libraries()),
    During = begin_work(<<"during">>),
    ok = both_work(Buf),
    ok = end_work(Before),
    ok = end_work(During),
    ok = erlpy_ct:still_works(),
    ok = stops_with_a_blocked_reader(),
    %% The thread that takes the application up again is one of the first copy's.
    {error, not_started} = py:eval("1"),
    ok = application:start(erlpy),
    ok = erlpy_ct:still_works(),
    ok = end_work(begin_work(<<"after">>)).

%% The wait is in the first copy, its thread in the second: what counts the threads that
%% are parked must see that it is one.
stops_with_a_blocked_reader() ->
    {ok, Context} = py_context:new(),
    {ok, Buf} = py_buffer:new(),
    Reader = worker(reader, fun() -> py:call(Context, ct_buffers, invoke, [Buf, read]) end),
    erlpy_ct:eventually(fun() -> waits(Buf) end),
    {Took, ok} = erlpy_ct:timed(fun() -> application:stop(erlpy) end),
    true = Took < 1500,
    {error, stopped} = answer(Reader),
    py_buffer:close(Buf).

py_buffer_in_python() ->
    {ok, Buf} = py_buffer:new(),
    {ok, none} = py:call(ct_buffers, keep, [<<"kept">>, Buf]),
    Buf.

%% New contexts run the new library, the pool's threads the old one; a buffer, a pid and
%% an exception of either is known to the other.
both_work(Buf) ->
    {ok, Context} = py_context:new(),
    {ok, Kept} = py:call(Context, ct_buffers, take, [<<"kept">>]),
    ok = py_buffer:write(Kept, <<"one">>),
    {ok, <<"one">>} = py:call(Context, ct_buffers, invoke, [Buf, read, 3]),
    ok = py_buffer:write(Buf, <<"two">>),
    {ok, <<"two">>} = py:call(ct_buffers, invoke, [Kept, read, 3]),
    [begin
         Self = self(),
         {ok, none} = py:call(On, ct_calls, send, [Self, {N, Self}]),
         receive {N, Self} -> ok after 5000 -> ct:fail({no_message, N}) end
     end || {N, On} <- [{1, Context}, {2, py:context()}]],
    {error, {not_convertible, _}} = py:call(Context, builtins, object, []),
    {error, {not_convertible, _}} = py:call(builtins, object, []),
    %% Many at once, on threads of both.
    {ok, Many} = py_buffer:new(),
    Readers = [worker(N, fun() -> py:call(ct_buffers, invoke, [Many, read, 1]) end)
               || N <- lists:seq(1, 30)],
    ok = py_buffer:write(Many, binary:copy(<<"x">>, 30)),
    [{ok, <<"x">>} = answer(Reader) || Reader <- Readers],
    ok = py_context:destroy(Context).

%% Two copies in turn.
back_and_forth(Config) ->
    ok = in_peer(Config, with_copies_in_turn, [copy(Config, "other")]).

with_copies_in_turn(Ebin) ->
    Own = filename:dirname(code:which(py_nif)),
    Work = begin_work(<<"turns">>),
    lists:foreach(
        fun(Next) ->
            ok = use_copy(Next),
            ok = end_work(begin_work(list_to_binary(Next))),
            ok = erlpy_ct:still_works()
        end,
        [Ebin, Own, Ebin]
    ),
    ok = end_work(Work).

%% Calls, contexts and streams go on while the copies are exchanged: each answer is right.
beside_traffic(Config) ->
    ok = in_peer(Config, exchanges_beside_traffic, [copy(Config, "traffic")]).

exchanges_beside_traffic(Ebin) ->
    Own = filename:dirname(code:which(py_nif)),
    Stop = atomics:new(1, []),
    Workers = [worker({Fun, N}, fun() -> busy(Fun, Stop, 0) end)
               || N <- lists:seq(1, 3), Fun <- [call_once, stream_once, context_once, channel_once]],
    lists:foreach(
        fun(Next) ->
            true = code:add_patha(Next),
            [ok = reload_softly(Module) || Module <- modules()],
            Next = filename:dirname(code:which(py_nif))
        end,
        lists:append(lists:duplicate(10, [Ebin, Own]))
    ),
    ok = atomics:put(Stop, 1, 1),
    [true = answer(Worker) > 0 || Worker <- Workers],
    ok = erlpy_ct:still_works().

%% Nobody is in the middle of a function of the old code, as release upgrades have it.
reload_softly(Module) ->
    ok = erlpy_ct:eventually(fun() -> code:soft_purge(Module) end),
    {module, Module} = code:load_file(Module),
    ok.

busy(Fun, Stop, Count) ->
    case atomics:get(Stop, 1) of
        0 -> ok = ?MODULE:Fun(Count), busy(Fun, Stop, Count + 1);
        1 -> Count
    end.

call_once(N) ->
    {ok, [N, <<"text">>]} = py:call(ct_buffers, echo, [[N, <<"text">>]]),
    ok.

stream_once(N) ->
    {ok, Buf} = py_buffer:new(#{high_watermark => 100}),
    Data = binary:copy(<<N:32>>, 1000),
    Writer = spawn_link(fun() ->
        [ok = py_buffer:write(Buf, Piece) || Piece <- erlpy_ct:pieces(Data, 77)],
        ok = py_buffer:close(Buf)
    end),
    true = is_pid(Writer),
    {ok, Data} = py:call(ct_buffers, invoke, [Buf, read]),
    ok.

channel_once(N) ->
    {ok, Channel} = py_channel:new(#{max_size => 100}),
    Bounce = py:spawn_call(ct_channel, bounce, [Channel]),
    Numbers = lists:seq(N, N + 100),
    Sender = spawn_link(fun() ->
        [ok = py_channel:send(Channel, {M, [M]}, infinity) || M <- Numbers]
    end),
    true = is_pid(Sender),
    Numbers = [begin {ok, {M, [M]}} = py_channel:recv(Channel, 10_000), M end || _ <- Numbers],
    ok = py_channel:close(Channel),
    {ok, none} = py:await(Bounce, 10_000),
    ok.

context_once(_N) ->
    {ok, Context} = py_context:new(),
    ok = py:exec(Context, "mine = 6 * 7"),
    {ok, 42} = py:eval(Context, "mine"),
    py_context:destroy(Context).

%% ---- Libraries that do not fit -------------------------------------------------------------

layout_mismatch_is_refused(Config) ->
    Ebin = copy(Config, "layout"),
    ok = change_layout(library(Ebin)),
    ok = in_peer(Config, refuses, [Ebin, <<"layout 999">>]).

%% The number stands in the file behind its name.
change_layout(Library) ->
    {ok, Bytes} = file:read_file(Library),
    Name = <<"erlpy layout", 0:32>>,
    [{At, Size}] = binary:matches(Bytes, Name),
    Front = At + Size,
    <<Head:Front/binary, _:64, Tail/binary>> = Bytes,
    file:write_file(Library, [Head, <<999:64/native>>, Tail]).

text_where_the_library_should_be(Config) ->
    Ebin = copy(Config, "text"),
    ok = file:write_file(library(Ebin), "no library"),
    ok = in_peer(Config, refuses, [Ebin, <<"load_failed">>]).

%% The old code stays, with all that it does, and what is logged says why.
refuses(Ebin, Why) ->
    Self = self(),
    Old = code:which(py_nif),
    Work = begin_work(<<"refused">>),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => Self}),
    true = code:add_patha(Ebin),
    lists:foreach(
        fun(_) ->
            _ = code:purge(py_nif),
            {error, on_load_failure} = code:load_file(py_nif),
            ok = await_log(Why),
            Old = code:which(py_nif),
            ok = end_work(begin_work(<<"again">>))
        end,
        [1, 2]
    ),
    ok = logger:remove_handler(?MODULE),
    true = code:del_path(Ebin),
    ok = end_work(Work),
    ok = reload(py_nif),
    ok = erlpy_ct:still_works().

log(#{msg := {report, Report}}, #{config := Pid}) ->
    Pid ! {logged, io_lib:format("~p", [Report])};
log(#{msg := {string, Text}}, #{config := Pid}) ->
    Pid ! {logged, Text};
log(#{msg := {Format, Args}}, #{config := Pid}) ->
    Pid ! {logged, io_lib:format(Format, Args)}.

await_log(Why) ->
    receive
        {logged, Text} ->
            case string:find(unicode:characters_to_binary(Text), Why) of
                nomatch -> await_log(Why);
                _ -> ok
            end
    after 5000 -> ct:fail({not_logged, Why})
    end.

%% A copy that does not know of the first, since the module was deleted between the two,
%% cannot start a second Python, and says so.
fresh_load_beside_running_python(Config) ->
    ok = in_peer(Config, loads_afresh, [copy(Config, "afresh")]).

loads_afresh(Ebin) ->
    Old = filename:dirname(code:which(py_nif)),
    Work = begin_work(<<"afresh">>),
    ok = load_afresh(Ebin),
    {error, not_started} = py:eval("1"),
    ok = application:stop(erlpy),
    {error, Reason} = application:start(erlpy),
    Shown = lists:flatten(io_lib:format("~p", [Reason])),
    true = string:find(Shown, "Python runs in this node already") =/= nomatch,
    %% The first copy still has everything.
    ok = load_afresh(Old),
    {ok, 2} = py:eval("1 + 1"),
    {ok, none} = py:call(ct_reload, open_gate, [{<<"afresh">>, <<"gate">>}]),
    Caller = lists:keyfind(caller, 1, maps:get(workers, Work)),
    {ok, <<"afresh">>} = answer(Caller),
    ok = application:start(erlpy),
    ok = erlpy_ct:still_works(),
    %% And can be taken over by the second.
    ok = use_copy(Ebin),
    ok = erlpy_ct:still_works().

load_afresh(Ebin) ->
    true = code:add_patha(Ebin),
    _ = code:purge(py_nif),
    true = code:delete(py_nif),
    _ = code:purge(py_nif),
    {module, py_nif} = code:load_file(py_nif),
    ok.

%% Python goes on while the module is gone, and sends a buffer: there is no other object of
%% its type then.
objects_while_the_module_is_gone(Config) ->
    Fifo = filename:join(?config(priv_dir, Config), "go"),
    ok = run("mkfifo", [Fifo]),
    ok = in_peer(Config, sends_while_gone, [Fifo]).

sends_while_gone(Fifo) ->
    Ref = py:spawn_call(ct_reload, send_buffers, [self(), list_to_binary(Fifo), 100]),
    receive {reading, <<"fifo">>} -> ok after 5000 -> ct:fail(not_there) end,
    erlpy_ct:collect(),
    _ = code:purge(py_nif),
    true = code:delete(py_nif),
    _ = code:purge(py_nif),
    ok = file:write_file(Fifo, "go"),
    Buffers = [receive Buf when is_reference(Buf) -> Buf after 5000 -> ct:fail(N) end
               || N <- lists:seq(1, 100)],
    {ok, none} = py:await(Ref),
    {module, py_nif} = code:load_file(py_nif),
    %% They belong to the type of the module that is gone.
    false = py_nif:is_buffer(hd(Buffers)),
    ok = erlpy_ct:still_works().

%% The library is found without the module's own file.
cover_compiled(Config) ->
    case code:ensure_loaded(cover) of
        {module, cover} -> ok = in_peer(Config, covers, []);
        _ -> {skip, "no cover here"}
    end.

covers() ->
    Work = begin_work(<<"cover">>),
    Priv = filename:absname(py_nif:priv_dir()),
    {ok, py_nif} = cover:compile_beam(py_nif),
    {ok, py} = cover:compile_beam(py),
    cover_compiled = code:which(py_nif),
    Priv = filename:absname(py_nif:priv_dir()),
    ok = end_work(Work),
    ok = erlpy_ct:still_works(),
    ok = cover:stop().

six_calls(_Config) ->
    erlpy_ct:still_works().
