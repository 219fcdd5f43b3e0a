%% @private
%% The receive in which callers of Python wait.  It is a module of its own so that
%% reloading the API modules ends no caller that is in it.
-module(py_wait).

-export([call/3, response/2]).

%% The reference is made here and used in this function's receive alone: the runtime then
%% skips what was in the mailbox before.
-spec call(pool | reference(), py_nif:request(), timeout()) ->
    ok | {ok, term()} | {error, py:reason()}.
call(Target, Request, infinity) ->
    Ref = make_ref(),
    case py_nif:submit(Target, Ref, Request, false) of
        ok ->
            receive
                {py_response, Ref, Result} -> Result
            end;
        {error, _} = Error ->
            Error
    end;
call(Target, Request, Timeout) ->
    Ref = make_ref(),
    case py_nif:submit(Target, Ref, Request, true) of
        {error, _} = Error ->
            Error;
        Job ->
            receive
                {py_response, Ref, Result} -> Result
            after Timeout -> claim(Job, Ref)
            end
    end.

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
