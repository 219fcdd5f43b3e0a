%% @private
%% The functions that Python may call, and the processes that run them.
%%
%% A call arrives as `{erlpy, call, Id, Call}' and gets a process of its own at once; its
%% arguments stay in `Call' until that process takes them, so that nothing is copied
%% here.  The process answers Python itself; when it is killed instead, this one does.
%% `{erlpy, abandon, Id}': Python does not wait for the answer any more.
-module(erlpy_callbacks).
-behaviour(gen_server).

-export([start_link/0, new_table/0, register/2, unregister/1]).
-export([lookup/1, failure/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(TABLE, ?MODULE).
%% Reasons are printed for people: nobody reads all of a large one.
-define(PRINTED_DEPTH, 50).

%% Both ways round, of those that run.
-type state() :: #{Id :: integer() => pid(), pid() => {Id :: integer(), py_nif:callback()}}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The calling process owns the table.
-spec new_table() -> ok.
new_table() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, {read_concurrency, true}]),
    ok.

-spec register(binary(), function()) -> ok | {error, not_started}.
register(Name, Fun) ->
    try ets:insert(?TABLE, {Name, Fun}) of
        true -> ok
    catch
        error:badarg -> erlpy_error:not_started()
    end.

-spec unregister(binary()) -> ok.
unregister(Name) ->
    try ets:delete(?TABLE, Name) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% ---- The server --------------------------------------------------------------------

-spec init([]) -> {ok, state()}.
init([]) ->
    process_flag(trap_exit, true),
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(Request, _From, State) ->
    {reply, {error, {unknown_request, Request}}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({erlpy, call, Id, Call}, State) ->
    %% Monitored too: the function may take the link away.
    {Pid, _Monitor} = spawn_opt(py_wait, function, [Call], [link, monitor]),
    {noreply, State#{Id => Pid, Pid => {Id, Call}}};
handle_info({erlpy, abandon, Id}, State) ->
    %% None when it has ended; one that is yet to come finds the call gone.
    _ = [exit(Pid, kill) || #{Id := Pid} <- [State]],
    {noreply, State};
handle_info({'DOWN', _Monitor, process, Pid, Reason}, State) ->
    case maps:take(Pid, State) of
        {{Id, Call}, Rest} ->
            Reason =:= normal orelse fail(Call, Reason),
            {noreply, maps:remove(Id, Rest)};
        error ->
            {noreply, State}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, State) ->
    maps:foreach(
        fun
            (Pid, {_Id, Call}) ->
                fail(Call, shutdown),
                exit(Pid, kill);
            (_Id, _Pid) ->
                ok
        end,
        State
    ).

%% An answer that the process has given before counts.
fail(Call, Reason) ->
    py_nif:callback_reply(Call, failure(exit, Reason, [])).

%% ---- For the process of a call --------------------------------------------------------

-spec lookup(binary()) -> {ok, function()} | error.
lookup(Name) ->
    case ets:lookup(?TABLE, Name) of
        [{_, Fun}] -> {ok, Fun};
        [] -> error
    end.

-spec failure(error | exit | throw, term(), erlang:stacktrace()) -> py_nif:answer().
failure(Kind, Reason, Stack) ->
    Options = #{
        format_fun => fun(Term, _Indent) -> printed(Term) end,
        stack_trim_fun => fun(Module, _Function, _Arity) -> Module =:= py_wait end
    },
    Text = erl_error:format_exception(Kind, Reason, Stack, Options),
    {Kind, Reason, binary(printed(Reason)), binary(Text)}.

printed(Term) ->
    io_lib:format("~0tP", [Term, ?PRINTED_DEPTH]).

binary(Text) ->
    unicode:characters_to_binary(Text).
