%% What the suites share: the application with their Python modules on its path, other
%% nodes, waiting for a condition or for a word from Python, and bad arguments.
-module(erlpy_ct).

-include_lib("common_test/include/ct.hrl").

%% How long a test waits for what has to come.
-define(WITHIN, 20000).

-export([start/1, start/2, stop/0, python_dir/1, python/0]).
-export([still_works/0, left_clean/1, left_clean/2, eventually/1, eventually/2, timed/1, busy_wait/1]).
-export([job/1, result/1]).
-export([told/1, nothing_told/1, caller/1, answer_of/1, info/1, quiet/0]).
-export([register_waiting/1, running/1, down/1, workers/0]).
-export([peer/2, needs_gil/0, badarg/4, failed_start/1, skip_without/1]).
-export([write_pieces/3, trickle/2, trickle_by/2, trickle_until_closed/3, pieces/2, reader/1]).
-export([ticker/1, collect/0, threads/0]).

%% ---- The application -------------------------------------------------------------

start(Config) ->
    start(Config, []).

start(Config, Settings) ->
    stop(),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, [python_dir(Config)]),
    [ok = application:set_env(erlpy, Name, Value) || {Name, Value} <- Settings],
    {ok, _} = application:ensure_all_started(erlpy),
    ok.

stop() ->
    _ = application:stop(erlpy),
    _ = application:unload(erlpy),
    ok.

python_dir(Config) ->
    filename:join(filename:dirname(filename:dirname(?config(data_dir, Config))), "python").

%% The executable that the library was built for, from outside.
python() ->
    {ok, Path} = py:eval("__import__('sys').executable"),
    binary_to_list(Path).

%% The last case of every suite: what went before has left a runtime that works.
still_works() ->
    {ok, 4.0} = py:call(math, sqrt, [16]),
    {ok, <<"a/b">>} = py:call(os, 'path.join', [<<"a">>, <<"b">>]),
    {ok, 3} = py:call(builtins, len, [[1, 2, 3]]),
    {ok, 6} = py:eval("2 * 3"),
    {ok, Context} = py_context:new(),
    {ok, <<"abc">>} = py:call(Context, builtins, str, [abc]),
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, <<"[1, 2]">>),
    ok = py_buffer:close(Buf),
    {ok, [1, 2]} = py:call(json, load, [Buf]),
    ok = py_context:destroy(Context).

%% For an end_per_testcase: after a case that was good calls go on being good, and no
%% message is left over.
left_clean(Config) ->
    left_clean(Config, fun() -> ok end).

%% The same, and `Check' answers ok.  To Common Test a crash there is no failure.
left_clean(Config, Check) ->
    try
        {ok, _} = application:ensure_all_started(erlpy),
        left_clean_by(Check, ?config(tc_status, Config))
    catch
        Class:Reason:Stack -> {fail, {Class, Reason, Stack}}
    end.

left_clean_by(Check, ok) ->
    ok = Check(),
    no_stray(still_works_within(10000));
left_clean_by(_Check, _Failed) ->
    ok.

no_stray(ok) -> receive Any -> {fail, {stray, Any}} after 0 -> ok end;
no_stray({fail, _} = Fail) -> Fail.

%% ok or {fail, Why}, also when a call hangs.
still_works_within(Ms) ->
    {Pid, Monitor} = spawn_monitor(fun still_works/0),
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok;
        {'DOWN', Monitor, process, Pid, Why} -> {fail, Why}
    after Ms ->
        exit(Pid, kill),
        {fail, {fresh_calls_hang, py:info()}}
    end.

skip_without(Module) ->
    case py:call(importlib, import_module, [Module]) of
        {error, {<<"ModuleNotFoundError">>, _, _}} ->
            {skip, "this Python has no " ++ atom_to_list(Module)};
        _ ->
            ok
    end.

%% ---- Time ------------------------------------------------------------------------

eventually(Condition) ->
    eventually(Condition, 5000).

eventually(Condition, Left) when Left =< 0 ->
    true = Condition(),
    ok;
eventually(Condition, Left) ->
    case Condition() of
        true ->
            ok;
        false ->
            timer:sleep(20),
            eventually(Condition, Left - 20)
    end.

%% {Milliseconds, Result}
timed(Fun) ->
    {Micros, Result} = timer:tc(Fun),
    {Micros div 1000, Result}.

%% More exact than a sleep.
busy_wait(Micros) ->
    End = erlang:monotonic_time(microsecond) + Micros,
    busy_until(End).

busy_until(End) ->
    case erlang:monotonic_time(microsecond) < End of
        true -> busy_until(End);
        false -> ok
    end.

%% Every process has let go of what it no longer refers to.
collect() ->
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    ok.

%% Runs Fun beside a process that wants to run every millisecond.  {LongestGapMs, Result}
ticker(Fun) ->
    Self = self(),
    Ticker = spawn_link(fun() -> tick(Self, erlang:monotonic_time(), 0) end),
    receive {Ticker, ticking} -> ok end,
    Result = Fun(),
    Ticker ! {Self, stop},
    receive
        {Ticker, Longest} ->
            {erlang:convert_time_unit(Longest, native, microsecond) / 1000, Result}
    end.

tick(Parent, Before, Longest) ->
    Longest =:= 0 andalso (Parent ! {self(), ticking}),
    receive
        {Parent, stop} ->
            Gap = erlang:monotonic_time() - Before,
            Parent ! {self(), max(Gap, Longest)}
    after 1 ->
        Now = erlang:monotonic_time(),
        tick(Parent, Now, max(Now - Before, Longest))
    end.

%% ---- Calls -----------------------------------------------------------------------

%% What the Python code says, in order.
told(Word) ->
    receive
        {Word, Value} -> Value
    after ?WITHIN -> ct:fail({not_told, Word, process_info(self(), messages), py:info()})
    end.

nothing_told(Ms) ->
    receive Any -> ct:fail({stray, Any}) after Ms -> ok end.

%% Runs Fun in a process of its own: what comes of it, and what it left in the mailbox, is
%% had by result/1.
job(Fun) ->
    Self = self(),
    Ref = make_ref(),
    Pid = spawn_link(fun() ->
        Answer = Fun(),
        {messages, Left} = process_info(self(), messages),
        Self ! {Ref, Answer, Left}
    end),
    {Pid, Ref}.

result({_Pid, Ref}) ->
    receive
        {Ref, Answer, Left} -> [] = Left, Answer
    after ?WITHIN -> ct:fail(no_answer)
    end.

%% A process that makes the call, and tells its answer as {Pid, Answer} when it lives.
caller(Call) ->
    Self = self(),
    spawn(fun() -> Self ! {self(), Call()} end).

answer_of(Caller) ->
    receive {Caller, Answer} -> Answer after ?WITHIN -> ct:fail(no_answer) end.

info(Key) ->
    maps:get(Key, py:info()).

%% Until no call runs, waits or is stuck.
quiet() ->
    Quiet = #{running => 0, parked => 0, queued => 0, stuck => 0},
    eventually(fun() -> maps:with(maps:keys(Quiet), py:info()) =:= Quiet end).

%% ---- Functions that Python calls ---------------------------------------------------

%% A function under this name that says who runs it, and waits to be told a value.
register_waiting(Name) ->
    Test = self(),
    ok = py:register_function(Name, fun() ->
        Test ! {running, Name, self()},
        receive {value, Value} -> Value end
    end).

running(Name) ->
    receive {running, Name, Pid} -> Pid after 5000 -> ct:fail(not_running) end.

down(Monitor) ->
    receive {'DOWN', Monitor, process, _, Reason} -> Reason after 5000 -> ct:fail(alive) end.

%% The processes that run such functions now.
workers() ->
    {links, Links} = process_info(whereis(erlpy_callbacks), links),
    Links -- [whereis(erlpy_sup)].

%% ---- The machine ------------------------------------------------------------------

%% The names of all threads of this node.
threads() ->
    {ok, Ids} = file:list_dir("/proc/self/task"),
    Names = [file:read_file(["/proc/self/task/", Id, "/comm"]) || Id <- Ids],
    [string:trim(Name) || {ok, Name} <- Names].

%% A node of its own with the code of this one.  Linked to the calling process.
peer(Name, Options) ->
    os:getenv("ERLPY_SANITIZER") =:= "thread" andalso
        throw({skip, "nodes cannot be started under ThreadSanitizer"}),
    Code = [Dir || Dir <- code:get_path(), filename:basename(Dir) =/= "."],
    {ok, Peer, Node} = peer:start_link(Options#{
        name => peer:random_name(Name),
        connection => standard_io,
        args => ["-pa" | Code] ++ maps:get(args, Options, [])
    }),
    {Peer, Node}.

%% Skips the case on a build without one: there nobody can look at what a thread does, to
%% keep an exception from an import, and code that holds the GIL holds nobody up.
needs_gil() ->
    case py:eval("getattr(__import__('sys'), '_is_gil_enabled', lambda: True)()") of
        {ok, true} -> ok;
        {ok, false} -> throw({skip, "this Python has no GIL"})
    end.

%% ---- Arguments ----------------------------------------------------------------------

%% What a start_link answers that fails.  Before OTP 26 its exit comes as well.
failed_start(Start) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        process_flag(trap_exit, true),
        exit({answer, Start()})
    end),
    receive {'DOWN', Monitor, process, Pid, {answer, Answer}} -> Answer end.

%% Module:Function(Args) raises badarg that blames argument N with a text.
badarg(Module, Function, Args, N) ->
    try apply(Module, Function, Args) of
        Value -> ct:fail({no_badarg, {Module, Function, Args}, Value})
    catch
        error:badarg:Stack ->
            [{Blamed, Function, Shown0, _} | _] = Stack,
            %% The functions of py_context are those of py and may show as these, with
            %% the defaults filled in behind.
            true = Blamed =:= Module orelse {Blamed, Module} =:= {py, py_context},
            true = lists:prefix(Args, Shown0),
            #{N := Text} = Causes = erlpy_error:format_error(badarg, Stack),
            1 = map_size(Causes),
            true = io_lib:printable_unicode_list(lists:flatten(Text)),
            Shown = lists:flatten(erl_error:format_exception(error, badarg, Stack)),
            true = string:find(Shown, Text) =/= nomatch,
            Text
    end.

%% ---- Buffers ------------------------------------------------------------------------

pieces(Data, Size) when byte_size(Data) =< Size ->
    [Data];
pieces(Data, Size) ->
    <<Piece:Size/binary, Rest/binary>> = Data,
    [Piece | pieces(Rest, Size)].

%% Writes, with a pause after every tenth piece, and closes.
write_pieces(Buf, [], _PauseMs) ->
    ok = py_buffer:close(Buf);
write_pieces(Buf, Pieces, PauseMs) ->
    {Now, Later} = lists:split(min(10, length(Pieces)), Pieces),
    [ok = py_buffer:write(Buf, Piece) || Piece <- Now],
    timer:sleep(PauseMs),
    write_pieces(Buf, Later, PauseMs).

%% A buffer that a process of its own fills 100 bytes at a time.
trickle(Data, PauseMs) ->
    {ok, Buf} = py_buffer:new(),
    _ = spawn_link(fun() -> write_pieces(Buf, pieces(Data, 100), PauseMs) end),
    Buf.

%% The same with pieces of another size.
trickle_by(Data, Size) ->
    {ok, Buf} = py_buffer:new(),
    Pieces = pieces(iolist_to_binary(Data), Size),
    _ = spawn_link(fun() -> write_pieces(Buf, Pieces, 0) end),
    Buf.

%% The same for a reader that may close it early.
trickle_until_closed(Data, Size, PauseMs) ->
    {ok, Buf} = py_buffer:new(),
    _ = spawn_link(fun() -> write_until_closed(Buf, pieces(Data, Size), PauseMs, 1) end),
    Buf.

write_until_closed(Buf, [], _PauseMs, _N) ->
    ok = py_buffer:close(Buf);
write_until_closed(Buf, [Piece | Pieces], PauseMs, N) ->
    case py_buffer:write(Buf, Piece) of
        ok ->
            N rem 10 =:= 0 andalso timer:sleep(PauseMs),
            write_until_closed(Buf, Pieces, PauseMs, N + 1);
        {error, closed} ->
            ok
    end.

%% A buffer that holds the data and has ended.
reader(Data) ->
    {ok, Buf} = py_buffer:new(),
    ok = py_buffer:write(Buf, Data),
    ok = py_buffer:close(Buf),
    Buf.
