%% @doc Contexts: a thread of its own in Python, with a namespace of its own.
%%
%% What `exec' defines stays; libraries that keep state per thread (database connections,
%% event loops) are safe in a context, since all its calls run on the one thread, in the
%% order in which they were made.  In a context the module `__main__' of a call is its own
%% namespace.
%%
%% A context ends by {@link destroy/1}, with the application, or when no process holds its
%% term any more (queued calls still run then).
-module(py_context).

-export([new/0, new/1, destroy/1]).
-export([call/4, call/5, call/6, eval/2, eval/3, eval/4, exec/2, exec/3]).

-export_type([context/0, mode/0]).

-type context() :: reference().
-type mode() :: auto | worker | owngil.

%% @equiv new(#{})
-spec new() -> {ok, context()} | {error, py:reason()}.
new() ->
    new(#{}).

%% @doc A new context.  The option `mode' is
%% <dl>
%% <dt>`worker', the default, or `auto'</dt><dd>its thread shares Python's interpreter, and
%% the GIL of that, with all others</dd>
%% <dt>`owngil'</dt><dd>it has an interpreter of its own, with a GIL of its own (PEP 684):
%% its code runs beside that of other contexts, on another core.  Modules are imported
%% anew there, and share nothing with those of others. CPython 3.12 or later; with an
%% older one the answer is `{error, {not_supported, Text}}'.  An extension module that was
%% not made for this raises `ImportError' when it is imported. See the guide
%% "Interpreters"</dd>
%% </dl>
%% An unknown option raises `badarg'.
-spec new(#{mode => mode()}) -> {ok, context()} | {error, py:reason()}.
new(Options) ->
    ok = erlpy_options:check(?MODULE, Options, fun judge/2),
    Mode = maps:get(mode, Options, worker),
    case erlpy_context:new(Mode) of
        {ok, Context} when Mode =:= owngil -> erlpy_context:when_ready(Context);
        Answer -> Answer
    end.

judge(mode, Mode) -> erlpy_context:is_mode(Mode);
judge(_Name, _Value) -> unknown.

%% @doc Ends the context.  Calls that are pending on it answer `{error, destroyed}' at once,
%% and the one that runs is cancelled ({@link py:interrupt/1}).
-spec destroy(context()) -> ok.
destroy(Context) ->
    case is_reference(Context) andalso py_nif:is_context(Context) of
        true ->
            py_nif:context_destroy(Context);
        false ->
            erlpy_error:badarg(?MODULE, {destroy, [Context]}, Context, "not a context")
    end.

%% @equiv py:call(Context, Module, Function, Args)
-spec call(context(), py:name(), py:name(), py:args()) -> py:result().
call(Context, Module, Function, Args) ->
    py:call(Context, Module, Function, Args, #{}, infinity).

%% @equiv py:call(Context, Module, Function, Args, Kwargs)
-spec call(context(), py:name(), py:name(), py:args(), py:kwargs()) -> py:result().
call(Context, Module, Function, Args, Kwargs) ->
    py:call(Context, Module, Function, Args, Kwargs, infinity).

%% @equiv py:call(Context, Module, Function, Args, Kwargs, Timeout)
-spec call(context(), py:name(), py:name(), py:args(), py:kwargs(), timeout()) ->
    py:result().
call(Context, Module, Function, Args, Kwargs, Timeout) ->
    py:call(Context, Module, Function, Args, Kwargs, Timeout).

%% @equiv py:eval(Context, Code)
-spec eval(context(), iodata()) -> py:result().
eval(Context, Code) ->
    py:eval(Context, Code, #{}, infinity).

%% @equiv py:eval(Context, Code, Locals)
-spec eval(context(), iodata(), py:kwargs()) -> py:result().
eval(Context, Code, Locals) ->
    py:eval(Context, Code, Locals, infinity).

%% @equiv py:eval(Context, Code, Locals, Timeout)
-spec eval(context(), iodata(), py:kwargs(), timeout()) -> py:result().
eval(Context, Code, Locals, Timeout) ->
    py:eval(Context, Code, Locals, Timeout).

%% @equiv py:exec(Context, Code)
-spec exec(context(), iodata()) -> ok | {error, py:reason()}.
exec(Context, Code) ->
    py:exec(Context, Code, infinity).

%% @equiv py:exec(Context, Code, Timeout)
-spec exec(context(), iodata(), timeout()) -> ok | {error, py:reason()}.
exec(Context, Code, Timeout) ->
    py:exec(Context, Code, Timeout).
