%% @private
%% The receive in which callers of Python wait.  It is a module of its own so that
%% reloading the API modules ends no caller that is in it.
-module(py_wait).

-export([call/3, submit/4, response/2]).
-export([set_chain/1]).

%% In the dictionary of a process that runs a function for Python: the call.
-define(CHAIN, '$erlpy_call').

%% The reference is made here and used in this function's receive alone: the runtime then
%% skips what was in the mailbox before.
-spec call(pool | reference(), py_nif:request(), timeout()) ->
    ok | {ok, term()} | {error, py:reason()}.
call(Target, Request, infinity) ->
    Ref = make_ref(),
    case submit(Target, Ref, Request, false) of
        ok ->
            receive
                {py_response, Ref, Result} -> Result
            end;
        {error, _} = Error ->
            Error
    end;
call(Target, Request, Timeout) ->
    Ref = make_ref(),
    case submit(Target, Ref, Request, true) of
        {error, _} = Error ->
            Error;
        Job ->
            receive
                {py_response, Ref, Result} -> Result
            after Timeout -> claim(Job, Ref)
            end
    end.

%% As py_nif:submit/5; a process that works for a call of Python's says so, since the Python
%% thread that waits for it may have to run the job.
-spec submit(pool | reference(), none | reference(), py_nif:request(), boolean()) ->
    ok | py_nif:job() | {error, py:reason()}.
submit(Target, Ref, Request, Cancellable) ->
    py_nif:submit(Target, Ref, Request, Cancellable, get(?CHAIN)).

%% The calling process works for this call from now on.
-spec set_chain(py_nif:callback()) -> ok.
set_chain(Call) ->
    put(?CHAIN, Call),
    ok.

%% After `cancelled' no message will come, after `replied' it is on its way.
claim(Job, Ref) ->
    case py_nif:cancel(Job) of
        cancelled -> {error, timeout};
        replied -> response(Ref, infinity)
    end.

-spec response(reference(), timeout()) -> ok | {ok, term()} | {error, py:reason()}.
response(Ref, Timeout) ->
    receive
        {py_response, Ref, Result} -> Result
    after Timeout -> {error, timeout}
    end.
