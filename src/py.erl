%% @doc Calls Python from Erlang.
%%
%% Every function that takes code or a call comes in two forms: with a context
%% ({@link py_context}) as its first argument, where it runs on that context's own thread
%% and namespace, and without, where it runs on a pool of threads in the interpreter's own
%% `__main__'.
%%
%% Module and function names are atoms, binaries or strings; a function may be dotted:
%% ```
%% {ok, <<"a/b">>} = py:call(os, "path.join", [<<"a">>, <<"b">>]).
%% '''
%% Terms are converted as the guide "Getting started" describes: binaries that are UTF-8 become `str', others `bytes'.
%%
%% Answers are `{ok, Value}', or `ok' for `exec', or `{error, Reason}':
%% <dl>
%% <dt>`{Type, Message, Traceback}'</dt><dd>Python raised; three binaries</dd>
%% <dt>`{not_convertible, Text}'</dt><dd>an argument or the result has no counterpart on
%% the other side; a result was computed all the same</dd>
%% <dt>`timeout'</dt><dd>no answer in time; none will arrive later, and the code is
%% cancelled</dd>
%% <dt>`interrupted'</dt><dd>{@link interrupt/1} cancelled the code</dd>
%% <dt>`not_started'</dt><dd>the application erlpy is not running</dd>
%% <dt>`stopped', `destroyed'</dt><dd>the application or the context ended before there was
%% an answer; the code is cancelled</dd>
%% <dt>`too_deep'</dt><dd>more than 256 calls within each other, from Erlang to Python to
%% Erlang and so on</dd>
%% </dl>
%% Arguments of a wrong type raise `badarg'.
%%
%% == Cancelling ==
%% Code is cancelled when the time of its call is over, when the process that called (or
%% `spawn_call'ed) dies, by {@link interrupt/1}, by {@link py_context:destroy/1}, and when
%% the application stops.  A call that is still queued then does not run.  In one that
%% runs, `erlang.Cancelled' is raised, once: at once in a read that waits for bytes or in
%% another wait of this library, and in Python code at the next check that CPython makes.
%% It is a `BaseException', so `except Exception' lets it through; `finally' runs.  A C
%% function (`time.sleep' is one) is not stopped: the exception comes when it returns, and
%% from a second on {@link info/0} counts the call as `stuck'.  Nobody waits for that: the
%% answer is made at once.  The death of a caller is noticed within some 0.1 s.
%%
%% == Coroutines ==
%% A call or an `eval' whose result can be awaited, such as that of an `async def', goes on
%% on an event loop of the library: it is answered when the coroutine, task or future is
%% done, with its result or its exception, and occupies no thread meanwhile.  Ten thousand
%% of them take one.  The settings `event_loops' and `event_loop' say how many loops there
%% are, and of which kind.  A cancel arrives as `asyncio.CancelledError', as that of a task
%% does everywhere: also code that runs long without an `await' only sees it at the next.
%% See the guide "asyncio".
-module(py).

-export([call/3, call/4, call/5, call/6]).
-export([eval/1, eval/2, eval/3, eval/4, exec/1, exec/2, exec/3]).
-export([cast/3, cast/4, cast/5]).
-export([spawn_call/3, spawn_call/4, spawn_call/5, await/1, await/2]).
-export([async_call/3, async_call/4, async_await/1, async_await/2]).
-export([async_gather/1, async_gather/2]).
-export([register_function/2, unregister_function/1]).
-export([start_contexts/0, start_contexts/1, stop_contexts/0, context/0, context/1]).
-export([interrupt/1]).
-export([version/0, info/0]).
-export([dup_fd/1]).

-export_type([name/0, args/0, kwargs/0, result/0, reason/0, exception/0, info/0]).
-export_type([gathered/0]).

-type name() :: atom() | binary() | string().
-type args() :: [term()].
-type kwargs() :: #{atom() | binary() => term()}.
-type exception() :: {Type :: binary(), Message :: binary(), Traceback :: binary()}.
-type reason() ::
    exception()
    | {not_convertible, binary()}
    | timeout
    | not_started
    | stopped
    | destroyed
    | too_deep
    | {not_supported, binary()}
    | interrupted
    | enomem
    | system_limit.
-type result() :: {ok, term()} | {error, reason()}.
-type gathered() :: {name(), name(), args()} | {name(), name(), args(), kwargs()}.
-type info() :: #{
    started := boolean(),
    threads := non_neg_integer(),
    running := non_neg_integer(),
    parked := non_neg_integer(),
    idle := non_neg_integer(),
    queued := non_neg_integer(),
    stuck := non_neg_integer(),
    calls := non_neg_integer(),
    contexts := non_neg_integer(),
    max_threads := non_neg_integer(),
    tasks := non_neg_integer(),
    event_loops := non_neg_integer(),
    interpreters := non_neg_integer(),
    idle_interpreters := non_neg_integer(),
    python := binary(),
    erlpy := binary()
}.

-define(IS_NAME(N), (is_atom(N) orelse is_binary(N) orelse is_list(N))).
-define(IS_CONTEXT_COUNT(N), (is_integer(N) andalso N > 0 andalso N =< 4096)).
-define(IS_TIMEOUT(T),
    (T =:= infinity orelse (is_integer(T) andalso T >= 0 andalso T =< 16#FFFFFFFF))
).

%% ---- Calls -----------------------------------------------------------------------

%% @equiv call(Module, Function, Args, #{}, infinity)
-spec call(name(), name(), args()) -> result().
call(Module, Function, Args) ->
    call_on(pool, Module, Function, Args, #{}, infinity, {call, [Module, Function, Args]}).

%% @doc Calls `Module.Function(*Args, **Kwargs)', or with a context first
%% `Module.Function(*Args)'.
-spec call(Module :: name(), Function :: name(), Args :: args(), Kwargs :: kwargs()) -> result();
          (Context :: py_context:context(), Module :: name(), Function :: name(), Args :: args()) ->
              result().
call(Context, Module, Function, Args) when is_reference(Context) ->
    call_on(Context, Module, Function, Args, #{}, infinity,
            {call, [Context, Module, Function, Args]});
call(Module, Function, Args, Kwargs) ->
    call_on(pool, Module, Function, Args, Kwargs, infinity,
            {call, [Module, Function, Args, Kwargs]}).

%% @doc Calls `Module.Function(*Args, **Kwargs)' and waits at most `Timeout' milliseconds
%% for the answer; or with a context first, without a limit.  The default is `infinity'.
%% A call that is still queued when its time is over does not run; one that runs already
%% is cancelled.  Either way the answer is `{error, timeout}', at once and for good.
-spec call(Module :: name(), Function :: name(), Args :: args(), Kwargs :: kwargs(),
           Timeout :: timeout()) -> result();
          (Context :: py_context:context(), Module :: name(), Function :: name(), Args :: args(),
           Kwargs :: kwargs()) -> result().
call(Context, Module, Function, Args, Kwargs) when is_reference(Context) ->
    call_on(Context, Module, Function, Args, Kwargs, infinity,
            {call, [Context, Module, Function, Args, Kwargs]});
call(Module, Function, Args, Kwargs, Timeout) ->
    call_on(pool, Module, Function, Args, Kwargs, Timeout,
            {call, [Module, Function, Args, Kwargs, Timeout]}).

%% @doc As `call/5' on a context.
-spec call(py_context:context(), name(), name(), args(), kwargs(), timeout()) -> result().
call(Context, Module, Function, Args, Kwargs, Timeout) ->
    call_on(Context, Module, Function, Args, Kwargs, Timeout,
            {call, [Context, Module, Function, Args, Kwargs, Timeout]}).

call_on(Target, Module, Function, Args, Kwargs, Timeout, Who) when
    is_atom(Module), is_atom(Function), is_list(Args), is_map(Kwargs), ?IS_TIMEOUT(Timeout)
->
    run(Target, {call, Module, Function, Args, Kwargs}, Timeout, Who);
call_on(Target, Module, Function, Args, Kwargs, Timeout, Who) ->
    Request = call_request(Module, Function, Args, Kwargs, Who),
    run(Target, Request, timeout(Timeout, Who), Who).

call_request(Module, Function, Args, Kwargs, Who) ->
    ModuleName = name(Module, Who),
    FunctionName = name(Function, Who),
    is_list(Args) orelse badarg(Who, Args, "not a list of arguments"),
    is_map(Kwargs) orelse badarg(Who, Kwargs, "not a map of keyword arguments"),
    {call, ModuleName, FunctionName, Args, Kwargs}.

%% ---- Source text -------------------------------------------------------------------

%% @equiv eval(Code, #{}, infinity)
-spec eval(iodata()) -> result().
eval(Code) ->
    eval_on(pool, Code, #{}, infinity, {eval, [Code]}).

%% @doc The value of an expression, with `Locals' as additional names; or of one in a
%% context.
-spec eval(Code :: iodata(), Locals :: kwargs()) -> result();
          (Context :: py_context:context(), Code :: iodata()) -> result().
eval(Context, Code) when is_reference(Context) ->
    eval_on(Context, Code, #{}, infinity, {eval, [Context, Code]});
eval(Code, Locals) ->
    eval_on(pool, Code, Locals, infinity, {eval, [Code, Locals]}).

%% @doc As `eval/2' with a timeout in milliseconds; or with a context and names.
-spec eval(Code :: iodata(), Locals :: kwargs(), Timeout :: timeout()) -> result();
          (Context :: py_context:context(), Code :: iodata(), Locals :: kwargs()) -> result().
eval(Context, Code, Locals) when is_reference(Context) ->
    eval_on(Context, Code, Locals, infinity, {eval, [Context, Code, Locals]});
eval(Code, Locals, Timeout) ->
    eval_on(pool, Code, Locals, Timeout, {eval, [Code, Locals, Timeout]}).

%% @doc As `eval/3' on a context, with a timeout in milliseconds.
-spec eval(py_context:context(), iodata(), kwargs(), timeout()) -> result().
eval(Context, Code, Locals, Timeout) ->
    eval_on(Context, Code, Locals, Timeout, {eval, [Context, Code, Locals, Timeout]}).

eval_on(Target, Code, Locals, Timeout, Who) ->
    is_map(Locals) orelse badarg(Who, Locals, "not a map of names"),
    run(Target, {eval, text(Code, Who), Locals}, timeout(Timeout, Who), Who).

%% @doc Runs statements in the interpreter's own `__main__'.
-spec exec(iodata()) -> ok | {error, reason()}.
exec(Code) ->
    exec_on(pool, Code, infinity, {exec, [Code]}).

%% @doc Runs statements in a context, whose namespace keeps what they define.
-spec exec(py_context:context(), iodata()) -> ok | {error, reason()}.
exec(Context, Code) ->
    exec_on(Context, Code, infinity, {exec, [Context, Code]}).

%% @doc As `exec/2' with a timeout in milliseconds.
-spec exec(py_context:context(), iodata(), timeout()) -> ok | {error, reason()}.
exec(Context, Code, Timeout) ->
    exec_on(Context, Code, Timeout, {exec, [Context, Code, Timeout]}).

exec_on(Target, Code, Timeout, Who) ->
    run(Target, {exec, text(Code, Who)}, timeout(Timeout, Who), Who).

%% ---- Without waiting ------------------------------------------------------------------

%% @equiv cast(Module, Function, Args, #{})
-spec cast(name(), name(), args()) -> ok | {error, reason()}.
cast(Module, Function, Args) ->
    cast_on(pool, Module, Function, Args, #{}, {cast, [Module, Function, Args]}).

%% @doc Queues a call and forgets it.  What it raises is logged as an error.  The death of
%% the calling process does not cancel it.
-spec cast(Module :: name(), Function :: name(), Args :: args(), Kwargs :: kwargs()) ->
              ok | {error, reason()};
          (Context :: py_context:context(), Module :: name(), Function :: name(), Args :: args()) ->
              ok | {error, reason()}.
cast(Context, Module, Function, Args) when is_reference(Context) ->
    cast_on(Context, Module, Function, Args, #{}, {cast, [Context, Module, Function, Args]});
cast(Module, Function, Args, Kwargs) ->
    cast_on(pool, Module, Function, Args, Kwargs, {cast, [Module, Function, Args, Kwargs]}).

%% @doc As `cast/4' on a context.
-spec cast(py_context:context(), name(), name(), args(), kwargs()) ->
    ok | {error, reason()}.
cast(Context, Module, Function, Args, Kwargs) ->
    cast_on(Context, Module, Function, Args, Kwargs,
            {cast, [Context, Module, Function, Args, Kwargs]}).

cast_on(Target, Module, Function, Args, Kwargs, Who) ->
    Request = call_request(Module, Function, Args, Kwargs, Who),
    submit(Target, none, Request, Who).

%% @equiv spawn_call(Module, Function, Args, #{})
-spec spawn_call(name(), name(), args()) -> reference() | {error, reason()}.
spawn_call(Module, Function, Args) ->
    spawn_call_on(pool, Module, Function, Args, #{}, {spawn_call, [Module, Function, Args]}).

%% @doc Queues a call.  The calling process gets `{py_response, Ref, Result}' when it is
%% done; {@link await/1} takes that message.  The death of the calling process cancels the
%% call.
-spec spawn_call(Module :: name(), Function :: name(), Args :: args(), Kwargs :: kwargs()) ->
                    reference() | {error, reason()};
                (Context :: py_context:context(), Module :: name(), Function :: name(),
                 Args :: args()) ->
                    reference() | {error, reason()}.
spawn_call(Context, Module, Function, Args) when is_reference(Context) ->
    spawn_call_on(Context, Module, Function, Args, #{}, {spawn_call, [Context, Module, Function, Args]});
spawn_call(Module, Function, Args, Kwargs) ->
    spawn_call_on(pool, Module, Function, Args, Kwargs, {spawn_call, [Module, Function, Args, Kwargs]}).

%% @doc As `spawn_call/4' on a context.
-spec spawn_call(py_context:context(), name(), name(), args(), kwargs()) ->
    reference() | {error, reason()}.
spawn_call(Context, Module, Function, Args, Kwargs) ->
    spawn_call_on(Context, Module, Function, Args, Kwargs,
                  {spawn_call, [Context, Module, Function, Args, Kwargs]}).

spawn_call_on(Target, Module, Function, Args, Kwargs, Who) ->
    Request = call_request(Module, Function, Args, Kwargs, Who),
    Ref = make_ref(),
    case submit(Target, Ref, Request, Who) of
        ok -> Ref;
        {error, _} = Error -> Error
    end.

%% @equiv await(Ref, infinity)
-spec await(reference()) -> result().
await(Ref) ->
    await(Ref, infinity).

%% @doc Waits for the answer of a `spawn_call'.  `{error, timeout}' says only that it has not
%% come yet: unlike the timeout of `call' it cancels nothing, the answer may still come, and
%% can be awaited again. An answer comes once: who awaits one that they have got waits in
%% vain.
-spec await(reference(), timeout()) -> result().
await(Ref, Timeout) when is_reference(Ref), ?IS_TIMEOUT(Timeout) ->
    py_wait:response(Ref, Timeout);
await(Ref, Timeout) when is_reference(Ref) ->
    badarg({await, [Ref, Timeout]}, Timeout, "not a timeout");
await(Ref, Timeout) ->
    badarg({await, [Ref, Timeout]}, Ref, no_reference(Ref)).

no_reference({error, _}) -> "not a reference: the call was refused with this error";
no_reference(_) -> "not a reference".

%% ---- Coroutines -------------------------------------------------------------------------

%% @doc As {@link spawn_call/3}, for a coroutine function; both take any function.
-spec async_call(name(), name(), args()) -> reference() | {error, reason()}.
async_call(Module, Function, Args) ->
    spawn_call_on(pool, Module, Function, Args, #{}, {async_call, [Module, Function, Args]}).

%% @doc As {@link spawn_call/4}, with keyword arguments or with a context first.
-spec async_call(Module :: name(), Function :: name(), Args :: args(), Kwargs :: kwargs()) ->
                    reference() | {error, reason()};
                (Context :: py_context:context(), Module :: name(), Function :: name(),
                 Args :: args()) ->
                    reference() | {error, reason()}.
async_call(Context, Module, Function, Args) when is_reference(Context) ->
    spawn_call_on(Context, Module, Function, Args, #{}, {async_call, [Context, Module, Function, Args]});
async_call(Module, Function, Args, Kwargs) ->
    spawn_call_on(pool, Module, Function, Args, Kwargs, {async_call, [Module, Function, Args, Kwargs]}).

%% @equiv async_await(Ref, infinity)
-spec async_await(reference()) -> result().
async_await(Ref) ->
    async_await(Ref, infinity).

%% @doc As {@link await/2}: waits for the answer of an `async_call'.  A timeout cancels
%% nothing.
-spec async_await(reference(), timeout()) -> result().
async_await(Ref, Timeout) when is_reference(Ref), ?IS_TIMEOUT(Timeout) ->
    py_wait:response(Ref, Timeout);
async_await(Ref, Timeout) when is_reference(Ref) ->
    badarg({async_await, [Ref, Timeout]}, Timeout, "not a timeout");
async_await(Ref, Timeout) ->
    badarg({async_await, [Ref, Timeout]}, Ref, no_reference(Ref)).

%% @equiv async_gather(Calls, infinity)
-spec async_gather([gathered()]) -> {ok, [term()]} | {error, reason()}.
async_gather(Calls) ->
    gather(Calls, infinity, {async_gather, [Calls]}).

%% @doc Makes all the calls at once and waits at most `Timeout' milliseconds for all of
%% them.  Each is `{Module, Function, Args}' or `{Module, Function, Args, Kwargs}'.
%%
%% `{ok, Values}' has their values in the order of the calls.  `{error, Reason}' is the
%% answer of the first one that fails, `{error, timeout}' says that not all were done in
%% time; either way the others are cancelled, as by the timeout of {@link call/5}, and no
%% message of theirs will come.  `[]' gives `{ok, []}'.
-spec async_gather([gathered()], timeout()) -> {ok, [term()]} | {error, reason()}.
async_gather(Calls, Timeout) ->
    gather(Calls, Timeout, {async_gather, [Calls, Timeout]}).

gather(Calls, Timeout, Who) ->
    is_list(Calls) andalso length_of(Calls) =/= improper orelse
        erlpy_error:badarg_at(?MODULE, Who, 1, "not a list of calls"),
    ?IS_TIMEOUT(Timeout) orelse
        erlpy_error:badarg_at(?MODULE, Who, 2, "not a timeout: milliseconds or infinity"),
    py_wait:gather([gathered_request(Call, Who) || Call <- Calls], Timeout).

length_of(List) ->
    try length(List) catch error:badarg -> improper end.

gathered_request(Call, Who) ->
    try
        gathered_call(Call)
    catch
        error:_ -> not_gathered(Call, Who)
    end.

gathered_call({Module, Function, Args}) ->
    gathered_call({Module, Function, Args, #{}});
gathered_call({Module, Function, Args, Kwargs}) when is_list(Args), is_map(Kwargs) ->
    {call, gathered_name(Module), gathered_name(Function), Args, Kwargs}.

gathered_name(Name) when is_atom(Name); is_binary(Name) ->
    Name;
gathered_name(Name) ->
    Binary = unicode:characters_to_binary(Name),
    is_binary(Binary) orelse error(badarg),
    Binary.

-spec not_gathered(term(), erlpy_error:call()) -> no_return().
not_gathered(Call, Who) ->
    Text = io_lib:format("not a list of {Module, Function, Args} or "
                         "{Module, Function, Args, Kwargs}, because of ~0tP", [Call, 12]),
    erlpy_error:badarg_at(?MODULE, Who, 1, lists:flatten(Text)).

%% ---- From Python to Erlang -------------------------------------------------------------

%% @doc Lets Python call `Fun' as `erlang.call(Name, *args)'.
%%
%% Each call runs in a process of its own and gets the converted arguments; its value is
%% that of `erlang.call', where an error, exit or throw arrives as `erlang.ErlangError'. The
%% process is killed when the Python code that waits for it is cancelled. A name that is
%% taken gets the new function. A registration lasts until
%% {@link unregister_function/1} or until the application stops, and belongs to no
%% process. `{error, not_started}': the application is not running.
-spec register_function(name(), function()) -> ok | {error, not_started}.
register_function(Name, Fun) when is_function(Fun) ->
    erlpy_callbacks:register(function_name(Name, {register_function, [Name, Fun]}), Fun);
register_function(Name, Fun) ->
    erlpy_error:badarg_at(?MODULE, {register_function, [Name, Fun]}, 2, "not a function").

%% @doc Takes a function back from Python. Calls of it that run go on. `ok' also when
%% there is none of this name.
-spec unregister_function(name()) -> ok.
unregister_function(Name) ->
    erlpy_callbacks:unregister(function_name(Name, {unregister_function, [Name]})).

function_name(Name, Who) ->
    case name(Name, Who) of
        Atom when is_atom(Atom) -> atom_to_binary(Atom);
        Binary -> text(Binary, Who)
    end.

%% ---- Contexts ----------------------------------------------------------------------------

%% @doc Starts as many contexts as the setting `contexts' says.
-spec start_contexts() -> {ok, [py_context:context()]} | {error, reason()}.
start_contexts() ->
    start_contexts(erlpy_runtime:default_contexts()).

%% @doc Starts the contexts that {@link context/0} gives out: so many (1 to 4096), or as a map
%% says with `count' (default: the setting `contexts') and `mode' ({@link py_context:new/1}).
%% When they run already, the answer is those, whatever their number and mode.
-spec start_contexts(pos_integer() | #{count => pos_integer(), mode => py_context:mode()}) ->
    {ok, [py_context:context()]} | {error, reason()}.
start_contexts(Options) when is_map(Options) ->
    ok = erlpy_options:check({?MODULE, {start_contexts, [Options]}, 1}, Options,
                             fun judge_contexts/2),
    Count = case Options of
        #{count := Given} -> Given;
        #{} -> erlpy_runtime:default_contexts()
    end,
    contexts_of(Count, maps:get(mode, Options, worker));
start_contexts(Count) when ?IS_CONTEXT_COUNT(Count) ->
    contexts_of(Count, worker);
start_contexts(Count) ->
    badarg({start_contexts, [Count]}, Count, "not a number of contexts from 1 to 4096").

judge_contexts(count, Count) -> ?IS_CONTEXT_COUNT(Count);
judge_contexts(mode, Mode) -> erlpy_context:is_mode(Mode);
judge_contexts(_Name, _Value) -> unknown.

contexts_of(Count, Mode) ->
    case erlpy_runtime:start_contexts(Count, Mode) of
        {started, Contexts} when Mode =:= owngil -> when_ready(Contexts);
        {error, _} = Error -> Error;
        {_, Contexts} -> {ok, Contexts}
    end.

when_ready(Contexts) ->
    Results = [erlpy_context:when_ready(Context) || Context <- Contexts],
    case [Error || {error, _} = Error <- Results] of
        [] ->
            {ok, Contexts};
        [Error | _] ->
            ok = stop_contexts(),
            Error
    end.

%% @doc Ends them.  Their pending calls answer `{error, destroyed}'.
-spec stop_contexts() -> ok.
stop_contexts() ->
    erlpy_runtime:stop_contexts().

%% @doc A context that suits the calling process: one a scheduler, as far as there are
%% enough.  Starts them when none runs; raises `not_started' when the application does not
%% run.
-spec context() -> py_context:context().
context() ->
    Contexts = running_contexts(),
    Index = (erlang:system_info(scheduler_id) - 1) rem tuple_size(Contexts),
    element(Index + 1, Contexts).

%% @doc The `N'th of them, from 1 on.
-spec context(pos_integer()) -> py_context:context().
context(N) ->
    Contexts = running_contexts(),
    case is_integer(N) andalso N > 0 andalso N =< tuple_size(Contexts) of
        true -> element(N, Contexts);
        false -> badarg({context, [N]}, N, "not the number of a running context")
    end.

running_contexts() ->
    case erlpy_runtime:contexts() of
        {} ->
            case start_contexts() of
                {ok, Contexts} -> list_to_tuple(Contexts);
                {error, Reason} -> error(Reason)
            end;
        Contexts ->
            Contexts
    end.

%% @doc Cancels the call that runs on the context.  Its caller gets `{error, interrupted}'
%% at once, and `erlang.Cancelled' is raised in the code; calls that are queued behind it
%% run as usual.  So are all coroutines cancelled that calls on this context have begun.
%% Without a running call nothing happens.  Code that was cancelled before and goes on gets
%% the exception again.
-spec interrupt(py_context:context()) -> ok.
interrupt(Context) ->
    case is_reference(Context) andalso py_nif:is_context(Context) of
        true -> py_nif:context_interrupt(Context);
        false -> badarg({interrupt, [Context]}, Context, "not a context")
    end.

%% ---- The runtime -------------------------------------------------------------------------

%% @doc How the runtime stands; also when the application does not run.
%% <dl>
%% <dt>`started'</dt><dd>the application runs</dd>
%% <dt>`threads'</dt><dd>threads that run calls, those of contexts included. It is the sum
%% of the next three</dd>
%% <dt>`running'</dt><dd>are in a call, or starting, or between two calls</dd>
%% <dt>`parked'</dt><dd>are in a call that waits for bytes or for Erlang</dd>
%% <dt>`idle'</dt><dd>have nothing to do</dd>
%% <dt>`queued'</dt><dd>calls that wait for a thread</dd>
%% <dt>`stuck'</dt><dd>calls that were cancelled more than a second ago and still run: in a
%% C function, or in code that caught the exception. Their threads do not count against
%% `max_threads'</dd>
%% <dt>`calls'</dt><dd>calls that were begun since the node started</dd>
%% <dt>`contexts'</dt><dd>contexts that have not ended</dd>
%% <dt>`max_threads'</dt><dd>the setting: how many threads serve calls that name no context,
%% at most</dd>
%% <dt>`tasks'</dt><dd>calls that go on on an event loop, those that are `stuck' there
%% included. They have no thread of their own</dd>
%% <dt>`event_loops'</dt><dd>threads that run such loops, with those that a stop has left
%% behind</dd>
%% <dt>`interpreters'</dt><dd>interpreters with a GIL of their own ({@link py_context:new/1})
%% that there are.  They are kept and used again, but for those where code or a thread that
%% Python code has started goes on after the end, or that have an audit hook</dd>
%% <dt>`idle_interpreters'</dt><dd>those of them that nobody uses</dd>
%% <dt>`python'</dt><dd>the version of Python, for instance `<<"3.11.2">>'</dd>
%% <dt>`erlpy'</dt><dd>the version of the library, for instance `<<"0.1.0">>'</dd>
%% </dl>
-spec info() -> info().
info() ->
    py_nif:info().

%% @doc The version of Python, for instance `{ok, <<"3.11.2">>}'.
-spec version() -> {ok, binary()}.
version() ->
    {ok, py_nif:version()}.

%% @doc Another descriptor of the same open socket, pipe or file, not passed on to other
%% programs, for Python code that is to own one: `socket.socket(fileno=fd)' closes it.
%% {@link py_reactor_context:handoff/3} needs none, it makes its own.  `badfd': it is not
%% open.  `emfile', `enfile': too many are.
-spec dup_fd(non_neg_integer()) -> {ok, non_neg_integer()} | {error, badfd | emfile | enfile}.
dup_fd(Fd) when is_integer(Fd), Fd >= 0, Fd =< 16#7FFFFFFF ->
    py_nif:dup_fd(Fd);
dup_fd(Fd) ->
    badarg({dup_fd, [Fd]}, Fd, "not a descriptor").

%% ---- Arguments ----------------------------------------------------------------------------

run(pool, Request, Timeout, _Who) ->
    py_wait:call(pool, Request, Timeout);
run(Context, Request, Timeout, Who) ->
    is_reference(Context) andalso py_nif:is_context(Context) orelse
        badarg(Who, Context, "not a context"),
    py_wait:call(Context, Request, Timeout).

submit(Target, Ref, Request, Who) ->
    Target =:= pool orelse (is_reference(Target) andalso py_nif:is_context(Target)) orelse
        badarg(Who, Target, "not a context"),
    py_wait:submit(Target, Ref, Request, false).

name(Name, _Who) when is_atom(Name); is_binary(Name) ->
    Name;
name(Name, Who) when is_list(Name) ->
    text(Name, Who);
name(Name, Who) ->
    badarg(Who, Name, "not a name: an atom, a binary or a string").

text(Text, Who) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> badarg(Who, Text, "not text in UTF-8")
    catch
        error:badarg -> badarg(Who, Text, "not text: a binary or a string")
    end.

timeout(Timeout, _Who) when ?IS_TIMEOUT(Timeout) ->
    Timeout;
timeout(Timeout, Who) ->
    badarg(Who, Timeout, "not a timeout: milliseconds or infinity").

-spec badarg(erlpy_error:call(), term(), string()) -> no_return().
badarg(Who, Wrong, Text) ->
    erlpy_error:badarg(?MODULE, Who, Wrong, Text).
